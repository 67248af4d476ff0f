import { randomUUID } from 'node:crypto'
import type { Api } from '@boxcar/api/client'
import type { PlanView, RouteView, SavedView, ServiceView } from '@boxcar/api/views'
import { awayReason, connect } from '../client.ts'
import type { CommandContext, RunCommand } from '../command.ts'
import { type ExitStatus, exitStatus } from '../exit.ts'
import { refuseMisplaced } from '../misplaced.ts'
import { isInterrupted, isWanted, stopIfInterrupted } from '../question.ts'
import { harmless, paint } from '../render/paint.ts'
import { planLines } from '../render/plan.ts'
import { formatOf, printLines } from '../render/print.ts'
import { readSpecs, type SpecFile } from '../spec-files.ts'
import type { Terminal } from '../terminal.ts'
import { watchUntilReady } from '../watch.ts'
import { millisecondsFlag, textsFlag } from './flags.ts'
import { notYetTrouble } from './not-yet.ts'

/** Hands services to the cluster: plan, ask, apply, watch. */
export const deploy: RunCommand = async context => {
  const { terminal, invocation } = context
  if (invocation.flags['prune'] === true)
    throw notYetTrouble('boxcar deploy --prune', 'boxcar rm SERVICE takes a service away')
  const specs = await readSpecs(textsFlag(invocation, 'file'), {
    images: textsFlag(invocation, 'image'),
    readInput: terminal.readInput,
  })
  const { api, settings, actor } = connect(context)
  const plan = await api.plan(
    settings.project,
    specs.map(it => it.text),
  )
  terminal.err.write(`${planLines(plan, paint(terminal.err.color)).join('\n')}\n`)
  stopIfInterrupted(terminal)
  const changes = plan.services.some(it => it.change !== 'unchanged')
  if (changes && !(await isWanted(context, 'Apply this plan?', 'whether to apply this plan')))
    return exitStatus.failure
  const saved = await putAll(context, api, { project: settings.project, specs, plan, actor })
  const goals = saved.map(it => ({
    ref: { project: it.service.project, name: it.service.name },
    generation: it.generation,
  }))
  const again = goals.map(({ ref }) => `boxcar rollout watch ${ref.project}/${ref.name}`).join('; ')
  if (invocation.flags['detach'] === true) {
    terminal.err.write(`Accepted. To watch: ${again}\n`)
    return report(
      context,
      api,
      saved.map(it => it.service),
    )
  }
  const services = await watchUntilReady(api, goals, terminal, {
    ...millisecondsFlag(invocation, 'timeout'),
    again,
  })
  return report(context, api, services)
}

async function putAll(
  { terminal }: CommandContext,
  api: Api,
  what: {
    readonly project: string
    readonly specs: readonly SpecFile[]
    readonly plan: PlanView
    readonly actor: string
  },
): Promise<readonly SavedView[]> {
  const saved: SavedView[] = []
  for (const { text, spec } of what.specs) {
    const planned = what.plan.services.find(it => it.name === spec.name)
    const revision = planned?.revision
    // What was shown is what is done: a service that somebody changed since is refused.
    const asIt = revision === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: revision }
    const how = { actor: what.actor, idempotencyKey: randomUUID(), ...asIt }
    let it: SavedView
    try {
      stopIfInterrupted(terminal, saved.length === 0 ? undefined : 'the rest was not sent')
      it = await persistently(terminal, () => api.put({ project: what.project, name: spec.name }, text, how))
    } catch (error) {
      for (const one of saved) {
        terminal.err.write(
          `Accepted before that: ${one.service.service} generation ${one.generation}; to watch: boxcar rollout watch ${one.service.service}\n`,
        )
      }
      throw error
    }
    if (it.previousImage !== undefined && it.previousImage !== it.service.image) {
      terminal.err.write(
        harmless(`${it.service.service}: ${it.previousImage} → ${it.service.image}`).concat('\n'),
      )
    }
    for (const warning of it.warnings) {
      const isShown = planned?.warnings.some(shown => shown.message === warning.message) === true
      if (!isShown) terminal.err.write(`warning: ${warning.pointer}: ${harmless(warning.message)}\n`)
    }
    saved.push(it)
  }
  return saved
}

/** So long a request waits before it is sent again, milliseconds: a server that restarts is back by then. */
const againAfterMs = [500, 1_500, 3_000]

/** Sends a request with an `Idempotency-Key` again while the server is away: what it did already, it does not do twice. */
async function persistently<Answer>(terminal: Terminal, ask: () => Promise<Answer>): Promise<Answer> {
  for (const waitMs of againAfterMs) {
    try {
      return await ask()
    } catch (error) {
      const why = awayReason(error)
      if (why === undefined || isInterrupted(terminal)) throw error
      terminal.err.write(`${harmless(why)}; trying again\n`)
      // A signal that is aborted by a lost output would end the wait at once.
      await terminal.clock.sleep(waitMs, terminal.interrupted.aborted ? undefined : terminal.interrupted)
    }
  }
  return ask()
}

/** The data of a deploy, and how it ends. */
async function report(
  context: CommandContext,
  api: Api,
  services: readonly ServiceView[],
): Promise<ExitStatus> {
  await show(context, api, services)
  await refuseMisplaced(api, services)
  return exitStatus.done
}

/** The services, and where users find them. */
async function show(context: CommandContext, api: Api, services: readonly ServiceView[]): Promise<void> {
  const format = formatOf(context)
  if (format === 'json' || format === 'yaml' || format === 'jsonl') {
    const { printList } = await import('../render/print.ts')
    await printList(context, services, { columns: [], nameOf: it => it.service, none: '' })
    return
  }
  if (format === 'name') {
    await printLines(
      context,
      services.map(it => it.service),
    )
    return
  }
  const routes = await addressesAtBest(api)
  await printLines(
    context,
    services.map(it => {
      const addresses = routes.filter(route => route.service === it.service).flatMap(route => route.addresses)
      const misplaced = it.misplaced === 0 ? '' : `, ${it.misplaced} misplaced`
      return [
        `${it.service} generation ${it.generation}: ${it.ready}/${it.replicas} ready${misplaced}`,
        ...addresses,
      ].join('  ')
    }),
  )
}

/** None where the server cannot tell just now: what was asked for is done all the same. */
async function addressesAtBest(api: Api): Promise<readonly RouteView[]> {
  try {
    return await api.routes()
  } catch (error) {
    if (awayReason(error) === undefined) throw error
    return []
  }
}
