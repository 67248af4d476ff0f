/** Watches services until they are where they were asked to be, and shows the way there. */
import type { Api, ServiceRef } from '@boxcar/api/client'
import type { RolloutView, ServiceView, WhyView } from '@boxcar/api/views'
import { elapsed, type Instant } from '@boxcar/core/model/clock'
import { awayReason } from './client.ts'
import { exitStatus, Trouble, type TroubleText } from './exit.ts'
import { obstacleLines, rejectionLines, unservedLines } from './render/evidence.ts'
import { type Live, live } from './render/live.ts'
import { paint } from './render/paint.ts'
import { changeLines, type Sight, tree } from './render/tree.ts'
import { seconds } from './render/words.ts'
import type { Terminal } from './terminal.ts'
import { obstaclePatienceMs, Waiting } from './waiting.ts'
import { nextLook } from './watch-until.ts'

export interface Goal {
  readonly ref: ServiceRef
  /** The generation that must come to answer; left out: the one that is asked for. */
  readonly generation?: number
}

export interface WatchOptions {
  readonly timeoutMs?: number
  /** Said when the watching ends before the work does. */
  readonly again: string
}

/** How often the server is asked. Its answers come from memory; a person sees no difference below this. */
const everyMs = 250

type Verdict =
  | { readonly kind: 'under-way' }
  | { readonly kind: 'reached' }
  | { readonly kind: 'failed'; readonly text: TroubleText }

/** Gives the services as they were when all goals were reached. Throws Trouble for any other end, its status included. */
export async function watchUntilReady(
  api: Api,
  goals: readonly Goal[],
  terminal: Terminal,
  options: WatchOptions,
): Promise<readonly ServiceView[]> {
  const started = terminal.clock.now()
  const picture = terminal.err.isTerminal ? live(terminal.err) : undefined
  const waiting = new Waiting()
  let before: readonly (Sight | undefined)[] = goals.map(() => undefined)
  try {
    for (;;) {
      const now = terminal.clock.now()
      const seen = await look(api, goals)
      if (seen.kind === 'away') {
        showNotice(terminal, picture, before, elapsed(started, now), seen.why)
      } else {
        show(terminal, picture, before, seen.sights, elapsed(started, now))
        before = seen.sights
        const verdicts = await Promise.all(
          seen.sights.map((sight, i) => judge(api, goals[i], sight, waiting, terminal.clock.now())),
        )
        const failed = verdicts.find(verdict => verdict.kind === 'failed')
        if (failed !== undefined) throw new Trouble(failed.text)
        if (verdicts.every(verdict => verdict.kind === 'reached')) return seen.sights.map(it => it.service)
      }
      const why = before.map(sight => (sight === undefined ? 'no answer yet' : standing(sight.service)))
      await nextLook(terminal, started, { ...options, notDone: 'not done', everyMs }, why.join('\n'))
    }
  } finally {
    picture?.end()
    // The terminal has written `^C` where the next line would begin.
    if (picture !== undefined && terminal.interrupted.aborted) terminal.err.write('\n')
  }
}

const standing = (it: ServiceView) =>
  `${it.service}: ${it.status}, ${it.ready}/${it.replicas} ready: ${it.reason}`

type Look =
  | { readonly kind: 'seen'; readonly sights: readonly Sight[] }
  | { readonly kind: 'away'; readonly why: string }

async function look(api: Api, goals: readonly Goal[]): Promise<Look> {
  try {
    const sights = await Promise.all(
      goals.map(async ({ ref }) => {
        const [service, instances] = await Promise.all([api.service(ref), api.instances(ref)])
        return { service, instances }
      }),
    )
    return { kind: 'seen', sights }
  } catch (error) {
    // The server may restart, or lose its store for a while: the work goes on without it.
    const why = awayReason(error)
    if (why === undefined) throw error
    return { kind: 'away', why }
  }
}

function show(
  terminal: Terminal,
  picture: Live | undefined,
  before: readonly (Sight | undefined)[],
  sights: readonly Sight[],
  elapsedMs: number,
): void {
  if (picture !== undefined) {
    picture.draw(tree({ sights, elapsedMs, rows: terminal.err.rows - 2 }, paint(terminal.err.color)))
    return
  }
  for (const [i, sight] of sights.entries()) {
    for (const line of changeLines(before[i], sight)) terminal.err.write(`${seconds(elapsedMs)} ${line}\n`)
  }
}

function showNotice(
  terminal: Terminal,
  picture: Live | undefined,
  before: readonly (Sight | undefined)[],
  elapsedMs: number,
  why: string,
): void {
  const sights = before.filter(sight => sight !== undefined)
  const notice = `${why}; trying again`
  if (picture !== undefined) {
    picture.draw(tree({ sights, elapsedMs, rows: terminal.err.rows - 2, notice }, paint(terminal.err.color)))
  } else if (Math.floor(elapsedMs / 5_000) !== Math.floor((elapsedMs - everyMs) / 5_000)) {
    terminal.err.write(`${seconds(elapsedMs)} ${notice}\n`)
  }
}

async function judge(
  api: Api,
  goal: Goal | undefined,
  { service, instances }: Sight,
  waiting: Waiting,
  now: Instant,
): Promise<Verdict> {
  const { rollout } = service
  const wanted = goal?.generation ?? rollout.asked
  if (rollout.asked < wanted || rollout.phase === 'accepted') return { kind: 'under-way' }
  if (rollout.asked > wanted) {
    return {
      kind: 'failed',
      text: {
        status: exitStatus.conflict,
        what: `generation ${wanted} of ${service.service} was replaced while it was watched`,
        why: `${service.by} asked for generation ${rollout.asked}`,
        next: `boxcar rollout watch ${service.service}`,
      },
    }
  }
  // Who watches no particular generation has what was asked for once an undo is done.
  const isUndo = goal?.generation === undefined && isUndone(rollout)
  if (rollout.outcome === 'rejected' && !isUndo) return { kind: 'failed', text: revertedText(service) }
  const isDone =
    (rollout.outcome === 'live' || isUndo) && rollout.phase === 'settled' && service.ready >= service.replicas
  // A way back is not held up by a host that does not serve what it leads to.
  if (isDone) return isUndo ? { kind: 'reached' } : served(service, waiting, now)
  const why = await unplaceable(api, goal, service)
  if (why === 'unknown') return { kind: 'under-way' }
  if (why === undefined) {
    waiting.over(service.service)
    return { kind: 'under-way' }
  }
  const print = JSON.stringify([
    why.waitingCount,
    instances.map(it => [it.id, it.host, it.state, it.restarts]),
  ])
  if (waiting.forMs(service.service, print, now) < obstaclePatienceMs) return { kind: 'under-way' }
  return {
    kind: 'failed',
    text: {
      status: exitStatus.notPlaced,
      what: `${service.service} is accepted, but ${why.waitingCount} of its instances cannot be placed`,
      why: obstacleLines(why).join('\n'),
      next: why.fix ?? `boxcar why ${service.service}`,
    },
  }
}

/** All that was asked for is ready; whether the hosts serve it. */
function served({ service, serving }: ServiceView, waiting: Waiting, now: Instant): Verdict {
  const key = `${service} served`
  if (serving === undefined || serving.hosts >= serving.of) {
    waiting.over(key)
    return { kind: 'reached' }
  }
  const { unserved, hosts, of } = serving
  // The leader writes the routes next: it is waited for as it is at the beginning of a rollout.
  if (unserved.length === 0) return { kind: 'under-way' }
  if (waiting.forMs(key, JSON.stringify(unserved), now) < obstaclePatienceMs) return { kind: 'under-way' }
  return {
    kind: 'failed',
    text: {
      status: exitStatus.notPlaced,
      what: `${service} is accepted and ready, but ${hosts} of ${of} hosts serve its routes`,
      why: unservedLines(unserved).join('\n'),
      next: `boxcar why ${service}`,
    },
  }
}

/** What is in the way, asked for only where too few instances are there at all. */
async function unplaceable(
  api: Api,
  goal: Goal | undefined,
  service: ServiceView,
): Promise<WhyView | 'unknown' | undefined> {
  const lacksInstances = service.rollout.counts.some(
    it => it.wanted > it.ready + it.starting + it.failing && (it.role === 'next' || it.role === 'live'),
  )
  if (goal === undefined || (!lacksInstances && service.status !== 'waiting')) return undefined
  try {
    const why = await api.why(goal.ref)
    return why.waitingCount > 0 ? why : undefined
  } catch (error) {
    if (awayReason(error) === undefined) throw error
    return 'unknown'
  }
}

/** Whether somebody went back from the asked generation, and another one answers or is about to. */
export function isUndone({ outcome, phase, live, rejection }: RolloutView): boolean {
  if (outcome !== 'rejected' || live === undefined || phase === 'reverted') return false
  // Going back to a generation that is started again first leaves no rejection.
  return rejection === undefined || rejection.because === 'undone'
}

/** A rollout that did not make it, with the evidence. */
export function revertedText(service: ServiceView): TroubleText {
  const { rejection, live } = service.rollout
  const generation = rejection?.generation ?? service.generation
  const answers = live === undefined ? 'no generation answers users yet' : `generation ${live} answers users`
  return {
    status: exitStatus.reverted,
    what: `generation ${generation} of ${service.service} was ${rejection?.because === 'aborted' ? 'aborted' : 'reverted'}; ${answers}`,
    why: rejection === undefined ? service.reason : rejectionLines(rejection).join('\n'),
    next: `boxcar why ${service.service}, then deploy again`,
  }
}
