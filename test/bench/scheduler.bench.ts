/**
 * The leader on a large cluster: how long a change of one service takes to plan, and how many placements a second are decided
 * and committed to a real etcd, beside raw guarded transactions of the same bytes in the same run.
 * `node test/bench/scheduler.bench.ts`; no containers.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEtcd } from '@boxcar/cli/machine/etcd'
import type { Instant } from '@boxcar/core/model/clock'
import type { GenerationNumber, HostId, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import { instanceId } from '@boxcar/core/model/ids'
import type { Placement } from '@boxcar/core/model/placement'
import type { Revision } from '@boxcar/core/model/revision'
import { generationRecord, specRecord } from '@boxcar/core/model/service'
import { templateText } from '@boxcar/core/model/spec'
import { World, type WorldChange } from '@boxcar/core/model/world'
import { Memory } from '@boxcar/core/plan/memory'
import { plan } from '@boxcar/core/plan/plan'
import { followed, worldChange } from '@boxcar/scheduler/feed'
import { groupsOf } from '@boxcar/scheduler/transactions'
import { absent, created, keyOf, put } from '@boxcar/store/collection'
import { commitAll, type Group } from '@boxcar/store/commit'
import { openEtcdStore } from '@boxcar/store/etcd/store'
import { EventWriter } from '@boxcar/store/events'
import * as keys from '@boxcar/store/keys'
import { Mirror } from '@boxcar/store/mirror'
import { compareRevisions, type LeaseId, type Store, type Write } from '@boxcar/store/store'
import { systemChance, systemClock } from '@boxcar/store/system'

const one = 1 as GenerationNumber
const image = 'registry.example/app@sha256:0000000000000000000000000000000000000000000000000000000000000000'

interface Shape {
  readonly hosts: number
  readonly services: number
  readonly replicas: number
}

async function planOneService(shape: Shape): Promise<void> {
  const world = new World()
  const memory = new Memory()
  let revision = 1
  const seen = <Value>(value: Value) => ({ value, modified: String(++revision) as Revision })
  const apply = (change: WorldChange) => world.apply(change, at(0))
  for (let h = 0; h < shape.hosts; h++) {
    apply({ kind: 'host', host: hostName(h), seen: seen(hostValue(h)) })
    apply({ kind: 'presence', host: hostName(h), seen: seen({ since: 0 }) })
    apply({ kind: 'route-ack', host: hostName(h), seen: seen({ revision: '999999999', draining: [] }) })
  }
  for (let s = 0; s < shape.services; s++) {
    const { service } = serviceValues(s, shape.replicas)
    const values = serviceValues(s, shape.replicas)
    apply({ kind: 'spec', service, seen: seen(specRecord.parse(values.spec)) })
    apply({ kind: 'generation', service, number: one, seen: seen(generationRecord.parse(values.generation)) })
    apply({
      kind: 'rollout',
      service,
      seen: seen({ ...values.rollout, now: { phase: 'settled', live: one } }),
    })
    for (let slot = 0; slot < shape.replicas; slot++) {
      const placement = placementValue(service, slot, (s * 7 + slot) % shape.hosts)
      const { host, instance } = placement
      apply({ kind: 'placement', host, instance, seen: seen(placement) })
      apply({ kind: 'report', host, instance, seen: seen(readyReport(instance)) })
    }
  }
  const policy = { term: '7', wall: 0 }
  // Routes of all services are written in the first plan; the world is settled after it.
  for (const { service, actions } of plan(world, memory, policy, at(0)).services)
    for (const action of actions)
      if (action.kind === 'route') apply({ kind: 'route', service, seen: seen(action.route) })
  plan(world, memory, policy, at(0))

  const scale: number[] = []
  const deploy: number[] = []
  for (let round = 0; round < 300; round++) {
    const s = (round * 37) % shape.services
    const more = serviceValues(s, shape.replicas + 5 + round)
    apply({ kind: 'spec', service: more.service, seen: seen(specRecord.parse(more.spec)) })
    scale.push(timed(() => plan(world, memory, policy, at(round))))
    const next = serviceValues(s, shape.replicas, 2)
    apply({
      kind: 'generation',
      service: next.service,
      number: 2 as GenerationNumber,
      seen: seen(generationRecord.parse(next.generation)),
    })
    apply({
      kind: 'rollout',
      service: next.service,
      seen: seen({ ...next.rollout, now: { phase: 'warming', stable: one, next: 2 } as never }),
    })
    deploy.push(timed(() => plan(world, memory, policy, at(round))))
    const back = serviceValues(s, shape.replicas)
    apply({ kind: 'spec', service: back.service, seen: seen(specRecord.parse(back.spec)) })
    apply({
      kind: 'rollout',
      service: back.service,
      seen: seen({ ...back.rollout, now: { phase: 'settled', live: one } }),
    })
    plan(world, memory, policy, at(round))
  }
  console.log(
    `\na change of one service on ${count(shape.hosts)} hosts and ${count(shape.services * shape.replicas)} instances`,
  )
  console.log(
    `  scaled up, planned in       ${ms(median(scale))} median, ${ms(quantile(scale, 0.99))} at 99 %`,
  )
  console.log(
    `  ${shape.replicas} of the next generation   ${ms(median(deploy))} median, ${ms(quantile(deploy, 0.99))} at 99 %`,
  )
}

async function commitFromNothing({ rounds, ...shape }: Shape & { readonly rounds: number }): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'boxcar-bench-'))
  const etcd = await startEtcd({ address: '127.0.0.1', dir })
  try {
    console.log(
      `\n${count(shape.services * shape.replicas)} placements from nothing on ${count(shape.hosts)} hosts, committed to a real etcd`,
    )
    const results: Awaited<ReturnType<typeof oneRound>>[] = []
    for (let round = 0; round < rounds; round++) {
      const store = openEtcdStore({
        endpoints: [etcd.endpoint],
        cluster: `bench${round}`,
        clock: systemClock,
      })
      try {
        results.push(await oneRound(store, shape))
      } finally {
        await store.close()
      }
    }
    const all = shape.services * shape.replicas
    const pick = (of: (r: (typeof results)[number]) => number) => median(results.map(of))
    console.log(`  world filled from the mirror           ${ms(pick(r => r.fillMs))}`)
    console.log(
      `  decided                                ${ms(pick(r => r.planMs))}   ${rate(
        all,
        pick(r => r.planMs),
      )}`,
    )
    console.log(
      `  committed                              ${ms(pick(r => r.commitMs))}   ${rate(
        all,
        pick(r => r.commitMs),
      )}`,
    )
    console.log(
      `  decided and committed                  ${ms(pick(r => r.planMs + r.commitMs))}   ${rate(
        all,
        pick(r => r.planMs + r.commitMs),
      )}`,
    )
    console.log(
      `  … and seen again in the leader's world ${ms(pick(r => r.planMs + r.commitMs + r.seenMs))}   ${rate(
        all,
        pick(r => r.planMs + r.commitMs + r.seenMs),
      )}`,
    )
    console.log(
      `  raw guarded transactions, same bytes   ${ms(pick(r => r.rawMs))}   ${rate(
        all,
        pick(r => r.rawMs),
      )}`,
    )
    console.log(
      `  decided and committed over raw         ${pick(r => (r.planMs + r.commitMs) / r.rawMs).toFixed(2)}`,
    )
  } finally {
    await etcd.stop()
    await rm(dir, { recursive: true, force: true })
  }
}

async function oneRound(store: Store, shape: Shape) {
  const ending = new AbortController()
  const { signal } = ending
  const events = new EventWriter({
    store,
    clock: systemClock,
    chance: systemChance,
    writer: 'scheduler',
    signal,
  })
  await events.ready()
  const lease = await store.grant(60_000)
  const elected = await store.commit({
    guards: [absent(keys.leaders, 'self')],
    writes: [put(keys.leaders, 'self', { address: 'bench', token: 'bench' }, lease.id)],
  })
  if (elected.kind !== 'committed') throw new Error(`not elected: ${elected.kind}`)
  const term = created(keys.leaders, 'self', elected.revision)
  await commitAll(
    store,
    setUp(shape, lease.id).map(writes => ({ guards: [], writes, tag: undefined })),
  )

  const mirror = new Mirror({
    store,
    clock: systemClock,
    scopes: followed.map(collection => ({ collection })),
    signal,
  })
  await mirror.untilCaughtUp()
  const world = new World()
  const began = performance.now()
  for (const collection of followed)
    for (const entry of mirror.of(collection).values()) {
      const change = worldChange({ kind: 'put', collection, entry })
      if (change !== undefined) world.apply(change, at(0))
    }
  const fillMs = performance.now() - began
  mirror.onChange(changes => {
    for (const change of changes) {
      const translated = worldChange(change)
      if (translated !== undefined) world.apply(translated, at(0))
    }
  })
  const since = mirror.revision
  const planBegan = performance.now()
  const planned = plan(world, new Memory(), { term: elected.revision, wall: 0 }, at(0))
  const groups = planned.services.flatMap(service =>
    groupsOf(service, { events, term: elected.revision, since }),
  )
  const planMs = performance.now() - planBegan

  const commitBegan = performance.now()
  const outcomes = await commitAll(store, groups, { always: [term], inFlight: 16 })
  const commitMs = performance.now() - commitBegan
  let newest = since
  for (const { outcome } of outcomes) {
    if (outcome.kind !== 'committed') throw new Error(`not committed: ${JSON.stringify(outcome)}`)
    if (compareRevisions(outcome.revision, newest) > 0) newest = outcome.revision
  }
  const seenBegan = performance.now()
  await mirror.reached(newest)
  const seenMs = performance.now() - seenBegan
  const placed = mirror.of(keys.placements).size
  if (placed !== shape.services * shape.replicas) throw new Error(`${placed} placements`)

  const rawMs = await rawTransactions(store, groups, term)
  ending.abort()
  return { fillMs, planMs, commitMs, seenMs, rawMs }
}

/** The same values under other keys, 126 a transaction with the term as its guard, as many under way. */
async function rawTransactions(
  store: Store,
  groups: readonly Group<unknown>[],
  term: ReturnType<typeof created>,
): Promise<number> {
  const writes = groups
    .flatMap(group => group.writes)
    .flatMap((write, i): Write[] =>
      write.kind === 'put' && write.key.startsWith('placements/')
        ? [{ ...write, key: keyOf(keys.idempotency, `raw-${i}-${write.key.slice('placements/'.length)}`) }]
        : [],
    )
  const batches: Write[][] = []
  for (let from = 0; from < writes.length; from += 126) batches.push(writes.slice(from, from + 126))
  const began = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let batch = batches[next++]; batch !== undefined; batch = batches[next++]) {
        const outcome = await store.commit({ guards: [term], writes: batch })
        if (outcome.kind !== 'committed') throw new Error(`not committed: ${outcome.kind}`)
      }
    }),
  )
  return performance.now() - began
}

/** Hosts with their presence, services with a generation whose image is pinned and whose rollout is warming. */
function setUp({ hosts, services, replicas }: Shape, lease: LeaseId): Write[][] {
  const groups: Write[][] = []
  for (let h = 0; h < hosts; h++)
    groups.push([
      put(keys.hosts, hostName(h), hostValue(h)),
      put(keys.presences, hostName(h), { since: 0 }, lease),
    ])
  for (let s = 0; s < services; s++) {
    const { service, spec, generation, rollout } = serviceValues(s, replicas)
    groups.push([
      put(keys.specs, service, spec as never),
      put(keys.generations, { service, number: one }, generation as never),
      put(keys.rollouts, service, rollout),
    ])
  }
  return groups
}

function hostValue(h: number) {
  return {
    id: hostName(h),
    address: `10.${h >> 8}.${h & 255}.1`,
    agentPort: 7071,
    capacity: { cpuMilli: 64_000, memoryMiB: 262_144 },
    labels: { zone: `z${h % 3}` },
    ports: { from: 20_000, to: 29_999 },
    engine: { version: '20.10', state: 'up' as const },
    proxy: { version: '2.6', state: 'up' as const },
    agentVersion: '1',
  }
}

function serviceValues(s: number, replicas: number, number = 1) {
  const name = `s${s}`
  const service = `bench/${name}` as ServiceName
  const text = {
    name,
    image: image.replace('app', `app${number}`),
    replicas,
    ports: [{ name: 'http', container: 8080 }],
    routes: [{ port: 'http', listen: 80, protocol: 'http' as const, hostnames: [`${name}.example`] }],
    resources: { reservations: { cpus: 0.5, memory: '512MiB' } },
  }
  const by = { service, uid: `u${s}`, by: 'bench', at: 0 }
  return {
    service,
    spec: { ...by, text, replicas, generation: number as GenerationNumber },
    generation: { ...by, number: number as GenerationNumber, text: templateText(text) },
    rollout: {
      service,
      uid: by.uid,
      term: '7',
      asked: number as GenerationNumber,
      now: { phase: 'warming' as const, next: number as GenerationNumber } as
        | { phase: 'warming'; next: GenerationNumber }
        | { phase: 'settled'; live: GenerationNumber },
      images: { 1: image, 2: image },
      rejections: [],
      same: {},
      since: 0,
    },
  }
}

function placementValue(service: ServiceName, slot: number, h: number): Placement {
  return {
    instance: instanceId({ service, generation: one, slot }),
    service,
    generation: one,
    slot,
    host: hostName(h),
    uid: `u${service.slice('bench/s'.length)}`,
    term: '7',
    desired: 'run',
    because: 'missing',
    cpuMilli: 500,
    memoryMiB: 512,
    ports: { http: 20_000 + ((Number(service.slice('bench/s'.length)) * 30 + slot) % 9000) },
    image,
  }
}

function readyReport(instance: InstanceId) {
  return {
    instance,
    uid: `u${instance.split('/')[1]?.slice(1) ?? ''}`,
    state: 'ready' as const,
    attempt: 1,
    restarts: 0,
    since: 0,
  }
}

const hostName = (h: number) => `host-${String(h).padStart(4, '0')}` as HostId
const at = (time: number) => time as Instant
const ms = (value: number) => `${value.toFixed(value < 10 ? 2 : 0)} ms`.padStart(9)
const rate = (things: number, tookMs: number) => `${count(Math.round((things / tookMs) * 1000))}/s`
const count = (n: number) => n.toLocaleString('en')
const quantile = (values: readonly number[], q: number) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length * q)] ?? Number.NaN
const median = (values: readonly number[]) => quantile(values, 0.5)

function timed(what: () => unknown): number {
  const began = performance.now()
  what()
  return performance.now() - began
}

await planOneService({ hosts: 1000, services: 1000, replicas: 30 })
await planOneService({ hosts: 5000, services: 5000, replicas: 30 })
await commitFromNothing({ hosts: 1000, services: 1000, replicas: 30, rounds: 3 })
