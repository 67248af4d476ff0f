/**
 * The scheduler's main loop: lead while elected; look at everything, decide purely, act once. A change of the store only
 * wakes the loop and never carries the news, so a missed one costs time, not correctness.
 */
import type { Term } from '@boxcar/store/election'
import { Office, type SchedulerDeps } from './office.ts'

/** Time alone can lose a host or end a phase, so the loop turns over at least this often. */
const idleMs = 1000
/** Changes that come together are planned together. */
const gatherMs = 15

/** Leads for one term; returns when the term is over or the signal is aborted. */
export async function lead(term: Term, deps: SchedulerDeps, signal: AbortSignal): Promise<void> {
  const { mirror, clock, log } = deps
  const office = new Office(term, deps)
  const stopFeeding = office.takeWorld()
  log.info({ term: term.id }, 'leads')
  try {
    const over = AbortSignal.any([term.signal, signal])
    await mirror.reached(term.id, over)
    await deps.events.ready()
    while (!over.aborted) {
      await office.wake.next(idleMs, clock, over)
      await clock.sleep(gatherMs, over)
      if (over.aborted) break
      term.progress()
      office.noticeTrouble()
      if (!term.isHeld()) continue
      await office.turn()
    }
  } finally {
    stopFeeding()
    log.info({ term: term.id }, 'leads no more')
  }
}
