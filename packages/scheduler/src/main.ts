/** Puts a scheduler candidate together: campaigns for ever, leads while elected. */
import { errorText } from '@boxcar/core/model/attempt'
import { type Chance, elapsed } from '@boxcar/core/model/clock'
import { campaign, type Term } from '@boxcar/store/election'
import { CampaignPause } from './campaign-pause.ts'
import { lead } from './loop.ts'
import type { SchedulerDeps } from './office.ts'

export interface CandidateDeps extends SchedulerDeps {
  readonly chance: Chance
  /** Where this candidate's API is reached; shown as the leader's address. */
  readonly address: string
}

export interface RunningScheduler {
  /** The term that this process leads in now, if it does. */
  term(): Term | undefined
  /** Gives the office up, so that the next one need not wait for the lease. */
  stop(): Promise<void>
}

export function startScheduler(deps: CandidateDeps): RunningScheduler {
  const ending = new AbortController()
  let current: Term | undefined
  let toldFailure: string | undefined
  const done = run()
  return {
    term: () => current,
    async stop() {
      ending.abort()
      await done
    },
  }

  async function run(): Promise<void> {
    const { store, clock, chance, address, log } = deps
    const { signal } = ending
    const pause = new CampaignPause(chance)
    while (!signal.aborted) {
      let began = clock.now()
      try {
        for await (const term of campaign({ store, clock, chance, address, log, signal })) {
          began = clock.now()
          await leadFor(term)
          pause.afterTerm(elapsed(began, clock.now()))
        }
      } catch (error) {
        // Whoever else stands leads meanwhile.
        const pauseMs = pause.afterFailure(elapsed(began, clock.now()))
        // Shown: an event `leader-failed`.
        log.error(
          { err: error, pauseMs: Math.round(pauseMs) },
          'the leader failed; it stands for election again later',
        )
        await tellFailure(errorText(error))
        await clock.sleep(pauseMs, signal)
      }
    }
  }

  /** Once for each reason in a row. Without it only the log of this process says why it does not lead. */
  async function tellFailure(reason: string): Promise<void> {
    const { store, events, log } = deps
    if (reason === toldFailure || !events.isReady) return
    try {
      const message = `the leader at ${deps.address} failed, and stands for election again later: ${reason}`
      const told = events.write({ kind: 'leader-failed', level: 'error', message })
      const outcome = await store.commit({ guards: [], writes: [told] })
      if (outcome.kind === 'committed') toldFailure = reason
    } catch (error) {
      log.info({ err: error }, 'that the leader failed is not told')
    }
  }

  async function leadFor(term: Term): Promise<void> {
    current = term
    try {
      await lead(term, deps, ending.signal)
    } finally {
      current = undefined
      await term.resign()
    }
  }
}
