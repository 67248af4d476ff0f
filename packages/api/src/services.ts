/** What can be done to a service: the decisions behind its routes. */
import { type ServiceName, serviceName } from '@boxcar/core/model/ids'
import { plural } from '@boxcar/core/model/plural'
import type { ServiceSpec } from '@boxcar/core/model/spec'
import { templateText } from '@boxcar/core/model/spec'
import { absent, living, put, remove, unchanged } from '@boxcar/store/collection'
import { claims, generations, hosts, leaders, rollouts, specs } from '@boxcar/store/keys'
import { compareRevisions, type Guard, type Listing, type Revision, type Write } from '@boxcar/store/store'
import { z } from 'zod'
import { noService } from './absent.ts'
import { checkNamed, checkSpec, notAnObject } from './decide/check-spec.ts'
import { type HeldClaim, sameId, tcpClaim } from './decide/claims.ts'
import { differences } from './decide/difference.ts'
import { asksForPorts, type HeldPort, heldPorts } from './decide/held-ports.ts'
import { isObject, mergePatch } from './decide/merge-patch.ts'
import { decideSave, type Save, type Seen } from './decide/save.ts'
import type { ApiDeps } from './deps.ts'
import type { Checked } from './faults.ts'
import { Keeper } from './idempotency.ts'
import { hostPort } from './listen.ts'
import { type Misplacement, misplacedViews } from './misplacement.ts'
import type { Picture, WrittenSpec } from './picture.ts'
import type { Refusal } from './refusal.ts'
import { refuseUnread } from './unread.ts'
import { type DeletedView, deletedView, type FaultView, type PlanView, type SavedView } from './views.ts'
import { holds, type Tried, type WriteContext, writing } from './writing.ts'

export type SaveOutcome =
  | { readonly kind: 'saved'; readonly saved: SavedView; readonly revision: string }
  | Refusal
export type DeleteOutcome = { readonly kind: 'deleted'; readonly deleted: DeletedView } | Refusal
export type PlanOutcome = { readonly kind: 'planned'; readonly plan: PlanView } | Refusal

type Kept = Omit<SavedView, 'service'>
const keptAnswer = z.object({
  generation: z.int(),
  changed: z.enum(['created', 'new-generation', 'in-place', 'unchanged']),
  previousImage: z.string().optional(),
  warnings: z.array(z.object({ pointer: z.string(), code: z.string(), message: z.string() })),
})

export class Services {
  readonly #deps: ApiDeps
  readonly #picture: Picture
  readonly #keeper: Keeper

  constructor(deps: ApiDeps, picture: Picture) {
    this.#deps = deps
    this.#picture = picture
    this.#keeper = new Keeper(deps)
  }

  /** The whole desired state. */
  async put(name: ServiceName, short: string, body: unknown, context: WriteContext): Promise<SaveOutcome> {
    const checked = checkNamed(body, short)
    if (checked.kind === 'wrong') return { kind: 'invalid', faults: checked.faults }
    return this.#save(name, context, () => ({ kind: 'good', value: { ...checked.value, manner: 'deploy' } }))
  }

  /** A JSON merge patch of what is there. */
  async patch(name: ServiceName, short: string, body: unknown, context: WriteContext): Promise<SaveOutcome> {
    if (!isObject(body)) return { kind: 'invalid', faults: [notAnObject(body)] }
    if (body['replicas'] === null)
      return {
        kind: 'invalid',
        faults: [
          {
            pointer: '/replicas',
            code: 'type',
            message: 'must be a whole number from 0 to 10000; how many run cannot be taken away',
            got: 'null',
          },
        ],
      }
    return this.#save(name, context, seen => {
      if (seen.spec === undefined) return { kind: 'refused', refusal: noService(this.#picture, name) }
      return patched(seen.spec.value.text, short, body)
    })
  }

  async #save(
    name: ServiceName,
    context: WriteContext,
    prepare: (seen: Pick<Seen, 'spec'>) => Prepared,
  ): Promise<SaveOutcome> {
    const { store, chance, clock, events } = this.#deps
    const freshUid = chance.id()
    return writing<SaveOutcome>(this.#deps, async (n): Promise<Tried<SaveOutcome>> => {
      const kept = await this.#keeper.look(context.key, n)
      if (kept.kind === 'reused') return { kind: 'answer', answer: { kind: 'key-reused' } }
      if (kept.kind === 'known')
        return { kind: 'answer', answer: await this.#again(name, kept.body, kept.revision) }
      const spec = await store.get(specs, name)
      const unread = spec === undefined ? this.#refuseUnread(name) : undefined
      if (unread !== undefined) return { kind: 'answer', answer: unread }
      if (!holds(context.condition, spec?.modified))
        return { kind: 'answer', answer: { kind: 'differs', revision: spec?.modified } }
      const prepared = prepare({ spec })
      if (prepared.kind === 'refused') return { kind: 'answer', answer: prepared.refusal }
      if (prepared.kind === 'wrong')
        return { kind: 'answer', answer: { kind: 'invalid', faults: prepared.faults } }
      const ask = {
        service: name,
        ...prepared.value,
        freshUid,
        by: context.actor,
        at: clock.wall(),
        requestId: context.requestId,
      }
      const { seen, claimsSince } = await this.#look(name, spec, ask.spec)
      const decision = decideSave(seen, ask)
      if (decision.kind !== 'save') return { kind: 'answer', answer: decision }
      const answer: Kept = {
        generation: decision.record.generation,
        changed: decision.changed,
        ...(decision.previousImage === undefined ? {} : { previousImage: decision.previousImage }),
        warnings: [...decision.warnings],
      }
      const keep = await this.#keeper.write(context.key, {
        status: answer.changed === 'created' ? 201 : 200,
        body: answer,
        revision: answer.changed === 'unchanged' ? spec?.modified : undefined,
      })
      if (decision.changed === 'unchanged' && spec !== undefined) {
        const again = () => this.#saved(spec, answer, spec.modified)
        if (keep === undefined) return { kind: 'answer', answer: again() }
        return {
          kind: 'commit',
          transaction: { guards: [unchanged(specs, name, spec.modified), keep.guard], writes: [keep.write] },
          done: again,
          wasDone: async () => undefined,
        }
      }
      return {
        kind: 'commit',
        transaction: {
          guards: [
            ...guardsOf(name, seen, decision, claimsSince),
            ...(keep === undefined ? [] : [keep.guard]),
          ],
          writes: [
            ...writesOf(name, decision),
            events.write({
              kind: `service-${decision.changed}`,
              message: storyOf(name, decision, seen),
              actor: context.actor,
              requestId: context.requestId,
              project: name.slice(0, name.indexOf('/')),
              service: name,
              generation: decision.record.generation,
            }),
            ...(keep === undefined ? [] : [keep.write]),
          ],
        },
        done: revision => this.#saved(writtenAs(decision, ask.spec, spec, revision), answer, revision),
        wasDone: () => this.#wroteIt(name, context.requestId),
      }
    })
  }

  /** Ends a service: what runs is stopped by the leader. Generations stay until nothing runs any more. */
  async delete(name: ServiceName, context: WriteContext): Promise<DeleteOutcome> {
    const { store, events } = this.#deps
    return writing<DeleteOutcome>(this.#deps, async (n): Promise<Tried<DeleteOutcome>> => {
      const kept = await this.#keeper.look(context.key, n)
      if (kept.kind === 'reused') return { kind: 'answer', answer: { kind: 'key-reused' } }
      if (kept.kind === 'known')
        return { kind: 'answer', answer: { kind: 'deleted', deleted: deletedView.parse(kept.body) } }
      const spec = await store.get(specs, name)
      const unread = spec === undefined ? this.#refuseUnread(name) : undefined
      if (unread !== undefined) return { kind: 'answer', answer: unread }
      if (!holds(context.condition, spec?.modified))
        return { kind: 'answer', answer: { kind: 'differs', revision: spec?.modified } }
      if (spec === undefined) return { kind: 'answer', answer: noService(this.#picture, name) }
      const { held } = await this.#claimsOn(portsOf(spec.value.spec))
      const instances = this.#picture.instances({ service: name }).filter(i => i.desired === 'run').length
      const deleted: DeletedView = { service: name, uid: spec.value.uid, instances }
      const keep = await this.#keeper.write(context.key, { status: 202, body: deleted })
      return {
        kind: 'commit',
        transaction: {
          guards: [unchanged(specs, name, spec.modified), ...(keep === undefined ? [] : [keep.guard])],
          writes: [
            ...(keep === undefined ? [] : [keep.write]),
            remove(specs, name),
            ...held.filter(claim => claim.service === name).map(claim => remove(claims, claim.id)),
            events.write({
              kind: 'service-deleted',
              message: `${context.actor} deleted ${name}; ${plural(instances, 'instance')} to stop`,
              actor: context.actor,
              requestId: context.requestId,
              project: name.slice(0, name.indexOf('/')),
              service: name,
              generation: spec.value.generation,
            }),
          ],
        },
        done: () => ({ kind: 'deleted', deleted }),
        // Nobody else takes this very spec away; gone is gone.
        wasDone: async () => {
          const listing = await store.list(specs, name.slice(0, name.indexOf('/')))
          return listing.entries.some(e => e.id === name && e.value.uid === spec.value.uid)
            ? undefined
            : listing.revision
        },
      }
    })
  }

  /** What a PUT of each spec would do. Writes nothing. */
  async plan(project: string, bodies: readonly unknown[]): Promise<PlanOutcome> {
    const faults: FaultView[] = []
    const asked: { text: Readonly<Record<string, unknown>>; spec: ServiceSpec; at: string }[] = []
    bodies.forEach((body, i) => {
      const at = `/services/${i}`
      const checked = checkSpec(body, at)
      if (checked.kind === 'wrong') faults.push(...checked.faults)
      else if (isObject(body)) {
        if (asked.some(a => a.spec.name === checked.value.name))
          faults.push({
            pointer: `${at}/name`,
            code: 'conflict_in_spec',
            message: `service '${checked.value.name}' is given twice`,
          })
        asked.push({ text: body, spec: checked.value, at })
      }
    })
    if (faults.length > 0) return { kind: 'invalid', faults: faults.slice(0, 20) }
    const services: PlanView['services'] = []
    const earlier: Save[] = []
    for (const { text, spec, at } of asked) {
      const name = serviceName(project, spec.name)
      const stored = await this.#deps.store.get(specs, name)
      const unread = stored === undefined ? this.#refuseUnread(name) : undefined
      if (unread !== undefined) return unread
      const others = asked.slice(
        0,
        asked.findIndex(one => one.spec === spec),
      )
      const { seen } = await this.#look(
        name,
        stored,
        spec,
        others.map(other => ({ service: serviceName(project, other.spec.name), spec: other.spec })),
      )
      const decision = decideSave(afterOthers(seen, earlier), {
        service: name,
        text,
        spec,
        manner: 'deploy',
        freshUid: 'plan',
        by: 'plan',
        at: 0,
        requestId: 'plan',
      })
      if (decision.kind !== 'save')
        return { ...decision, faults: decision.faults.map(f => ({ ...f, pointer: at + f.pointer })) }
      earlier.push(decision)
      const { generation, record } = decision
      // A new generation is placed by the new rules; what the old one breaks goes with it.
      const misplacement =
        generation === undefined ? this.#picture.misplacement(name, { uid: record.uid, spec }) : undefined
      services.push(planned(name, stored, decision, misplacement))
    }
    return { kind: 'planned', plan: { project, services } }
  }

  #refuseUnread(name: ServiceName): Refusal | undefined {
    return refuseUnread(this.#deps.mirror, specs, name, `the spec of ${name}`)
  }

  /**
   * Everything that a save is decided from, read from the store itself; but who holds ports, which the mirror tells. `earlier`:
   * services that a plan saves before this one.
   */
  async #look(
    name: ServiceName,
    spec: Seen['spec'],
    next: ServiceSpec,
    earlier: readonly Planned[] = [],
  ): Promise<{ readonly seen: Seen; readonly claimsSince: Revision | undefined }> {
    const { store } = this.#deps
    const ports = new Set([...portsOf(next), ...(spec === undefined ? [] : portsOf(spec.value.spec))])
    const [rollout, kept, { held, since }] = await Promise.all([
      store.get(rollouts, name),
      store.list(generations, name),
      this.#claimsOn(ports),
    ])
    const asks = asksForPorts(spec?.value.spec, next)
    const heldByOthers = asks ? this.#heldPorts(name, earlier) : []
    return {
      seen: { spec, rollout, generations: kept.entries, claims: held, heldPorts: heldByOthers },
      claimsSince: since,
    }
  }

  #heldPorts(name: ServiceName, earlier: readonly Planned[]): readonly HeldPort[] {
    const { mirror, listen, storeEndpoints = [] } = this.#deps
    const leader = living(mirror.get(leaders, 'self'))?.value.address
    const planned = new Set([name, ...earlier.map(one => one.service)])
    return heldPorts({
      hosts: [...mirror.of(hosts).values()].map(it => it.value),
      servers: [leader, listen === undefined ? undefined : hostPort(listen)].filter(it => it !== undefined),
      store: storeEndpoints,
      services: [
        ...earlier,
        ...[...mirror.of(specs).values()]
          .filter(({ id }) => !planned.has(id))
          .map(({ id, value }) => ({ service: id, spec: value.spec })),
      ],
    })
  }

  async #claimsOn(
    ports: ReadonlySet<number>,
  ): Promise<{ readonly held: readonly HeldClaim[]; readonly since: Revision | undefined }> {
    const { store } = this.#deps
    const listings: Listing<unknown, unknown>[] = []
    const held: HeldClaim[] = []
    for (const port of ports) {
      const listing = await store.list(claims, String(port))
      listings.push(listing)
      for (const { id, value } of listing.entries)
        held.push({ id, service: value.service, protocol: value['protocol'] })
    }
    // The first listing is the oldest: what came after it is seen by the guard.
    return { held, since: listings[0]?.revision }
  }

  async #wroteIt(name: ServiceName, requestId: string): Promise<Revision | undefined> {
    const entry = await this.#deps.store.get(specs, name)
    return entry?.value.requestId === requestId ? entry.modified : undefined
  }

  /** The service as it is shown, or as it was written where what is shown is older than that. */
  #saved(written: WrittenSpec, answer: Kept, revision: string): SaveOutcome {
    const shown = this.#picture.service(written.id)
    const service =
      shown !== undefined && compareRevisions(shown.revision, written.modified) >= 0
        ? shown
        : this.#picture.asked(written)
    return { kind: 'saved', saved: { service, ...answer }, revision }
  }

  /** Throws StoreUnavailable. */
  async #again(name: ServiceName, body: unknown, revision: string): Promise<SaveOutcome> {
    const known = keptAnswer.safeParse(body)
    if (!known.success) return { kind: 'key-reused' }
    const spec = await this.#deps.store.get(specs, name)
    if (spec === undefined) return noService(this.#picture, name)
    const { previousImage, ...rest } = known.data
    return this.#saved(spec, previousImage === undefined ? rest : { ...rest, previousImage }, revision)
  }
}

/** What a save wrote, as the store holds it since. */
const writtenAs = (save: Save, spec: ServiceSpec, before: Seen['spec'], revision: Revision): WrittenSpec => ({
  id: save.record.service,
  value: { ...save.record, spec },
  created: before?.created ?? revision,
  modified: revision,
})

/** What a plan sees once the services before this one are saved. */
function afterOthers(seen: Seen, earlier: readonly Save[]): Seen {
  const released = earlier.flatMap(save => save.release)
  const claimed = earlier.flatMap(({ claim, record }) =>
    claim.map(({ id, protocol }): HeldClaim => ({ id, protocol, service: record.service })),
  )
  return {
    ...seen,
    claims: [...seen.claims.filter(held => !released.some(id => sameId(id, held.id))), ...claimed],
  }
}

interface Planned {
  readonly service: ServiceName
  readonly spec: ServiceSpec
}

type Prepared =
  | Checked<{
      readonly text: Readonly<Record<string, unknown>>
      readonly spec: ServiceSpec
      readonly manner: 'deploy' | 'adjust'
      readonly replicas?: number
    }>
  | { readonly kind: 'refused'; readonly refusal: Refusal }

/** A scaling stands in the text only where the text said a number before. */
function patched(
  before: Readonly<Record<string, unknown>>,
  short: string,
  patch: Readonly<Record<string, unknown>>,
): Prepared {
  const checked = checkNamed(mergePatch(before, patch), short)
  if (checked.kind === 'wrong') return checked
  const { spec, text: merged } = checked.value
  const { replicas } = spec
  if (before['replicas'] !== undefined || patch['replicas'] === undefined || replicas === undefined)
    return { kind: 'good', value: { text: merged, spec, manner: 'adjust' } }
  const { replicas: _scaled, ...text } = merged
  return { kind: 'good', value: { text, spec, manner: 'adjust', replicas } }
}

const portsOf = (spec: ServiceSpec): ReadonlySet<number> => new Set(spec.routes.map(route => route.listen))

function guardsOf(
  name: ServiceName,
  seen: Seen,
  save: Save,
  claimsSince: Revision | undefined,
): readonly Guard[] {
  const guards: Guard[] = [
    seen.spec === undefined ? absent(specs, name) : unchanged(specs, name, seen.spec.modified),
  ]
  guards.push(...claimGuards(name, seen, save, claimsSince))
  // A generation is dropped only if the leader has not just gone back to it.
  if (save.prune.length > 0)
    guards.push(
      seen.rollout === undefined ? absent(rollouts, name) : unchanged(rollouts, name, seen.rollout.modified),
    )
  return guards
}

/**
 * Nobody else took the addresses meanwhile. HTTP claims are guarded one by one, so that services on other addresses do not
 * refuse each other; a TCP route needs a port without any claim, and is guarded by the whole collection.
 */
function claimGuards(
  name: ServiceName,
  seen: Seen,
  save: Save,
  since: Revision | undefined,
): readonly Guard[] {
  const guards: Guard[] = save.claim.map(claim => absent(claims, claim.id))
  const http = save.claim.filter(claim => claim.protocol === 'http')
  for (const port of new Set(http.map(claim => claim.id.listen))) {
    const id = tcpClaim(port)
    // Its own claim is guarded by its spec, and given up by this very save.
    if (!seen.claims.some(held => held.service === name && sameId(held.id, id)))
      guards.push(absent(claims, id))
  }
  if (http.length < save.claim.length && since !== undefined)
    guards.push({ kind: 'collection-unchanged', collection: claims, since })
  return guards
}

function writesOf(name: ServiceName, save: Save): readonly Write[] {
  const { record, generation } = save
  return [
    put(specs, name, record),
    ...(generation === undefined
      ? []
      : [put(generations, { service: name, number: generation.number }, generation)]),
    ...save.claim.map(claim =>
      put(claims, claim.id, { service: name, uid: record.uid, protocol: claim.protocol }),
    ),
    ...save.release.map(id => remove(claims, id)),
    ...save.prune.map(number => remove(generations, { service: name, number })),
  ]
}

function storyOf(name: ServiceName, save: Save, seen: Seen): string {
  const { by, generation, replicas, text } = save.record
  switch (save.changed) {
    case 'created':
      return `${by} created ${name}: generation ${generation}, image ${text.image}, ${plural(replicas, 'instance')}`
    case 'new-generation':
      return `${by} asked for generation ${generation} of ${name}, image ${text.image}`
    case 'in-place': {
      const before = seen.spec?.value.replicas
      return before !== undefined && before !== replicas
        ? `${by} scaled ${name} from ${before} to ${replicas}`
        : `${by} changed ${name} in place`
    }
    case 'unchanged':
      return `${by} asked for ${name} as it is`
  }
}

function planned(
  name: ServiceName,
  stored: Seen['spec'],
  save: Save,
  misplacement: Misplacement | undefined,
): PlanView['services'][number] {
  const { text, generation } = save.record
  const before = stored?.value
  // A count that the text leaves out stays as it was scaled to: no difference.
  const shownBefore: unknown = before === undefined ? {} : before.text
  const inTemplate = (key: string) => Object.hasOwn(templateText({ [key]: true }), key)
  const change = save.changed === 'created' ? 'create' : save.changed
  const isNew = change === 'create' || change === 'new-generation'
  return {
    name: String(text.name),
    service: name,
    change,
    because: becauseOf(save),
    generation,
    ...(stored === undefined ? {} : { revision: stored.modified }),
    differences: [...differences(shownBefore, text, inTemplate)],
    ...(isNew ? { strategy: strategyOf(save) } : {}),
    warnings: [...save.warnings],
    misplaced: misplacedViews(misplacement?.found ?? []),
    ...(misplacement?.next === undefined ? {} : { next: misplacement.next }),
  }
}

function strategyOf(save: Save): NonNullable<PlanView['services'][number]['strategy']> {
  return save.answer.kind === 'first'
    ? { name: 'first', because: 'nothing runs yet: it answers as soon as all its instances are ready' }
    : {
        name: 'blue-green',
        because:
          'all instances of the new generation get ready beside the old one, then traffic moves by one write; the old one stays warm for an undo',
      }
}

function becauseOf(save: Save): string {
  const { answer } = save
  switch (answer.kind) {
    case 'first':
      return 'the service is new'
    case 'new':
      switch (answer.because) {
        case 'content':
          return 'what makes the container changes'
        case 'attempt':
          return 'the last attempt at this generation was given up; this is a new one'
        case 'tag':
          return 'the image is a tag: it is looked up again, and nothing happens if it has not moved'
      }
      break
    case 'same':
      return save.changed === 'unchanged'
        ? answer.because === 'joins'
          ? 'the same is being rolled out already'
          : 'nothing changes'
        : 'it takes effect in place, without a new generation'
    case 'refused':
      return 'a fixed host port allows no second generation yet'
  }
}
