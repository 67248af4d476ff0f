/**
 * Whether this process itself ran while it waited for somebody else. A frozen agent hears no answer in time, however soon it
 * was given: a silence that it was not there to hear says nothing of whom it asked.
 */
import type { Clock } from '@boxcar/core/model/clock'

export interface Standstill {
  /** Ends the watching. */
  end(): void
  /** Whether the process stood still for so much of a wait that hearing nothing proves nothing. */
  spoils(waitMs: number): boolean
}

/** Watches from now on, by waking up often: whoever wakes up late did not run. */
export function watchStandstill(clock: Clock): Standstill {
  const stop = new AbortController()
  let lostMs = 0
  let asleepSince = clock.now()
  const lateMs = () => Math.max(0, clock.now() - asleepSince - wakeMs - jitterMs)
  const keepWaking = async () => {
    while (!stop.signal.aborted) {
      await clock.sleep(wakeMs, stop.signal)
      lostMs += lateMs()
      asleepSince = clock.now()
    }
  }
  void keepWaking()
  return {
    end: () => stop.abort(),
    spoils: waitMs => lostMs + lateMs() >= Math.max(leastMs, waitMs * share),
  }
}

const wakeMs = 50
/** So late any timer may be on a busy machine. */
const jitterMs = 20
/** Of the wait: what is left of it was time enough to answer in. */
const share = 0.2
const leastMs = 50
