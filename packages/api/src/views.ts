/**
 * The objects that the API answers with. The schemas are the truth: OpenAPI is generated from them, and the client checks
 * answers against them. Ids are plain text here, since they leave the process; times are milliseconds since 1970.
 */
import { hostCondition } from '@boxcar/core/model/host'
import { instanceState } from '@boxcar/core/model/report'
import { evidence } from '@boxcar/core/model/rollout'
import { listener } from '@boxcar/core/model/route'
import { unservedReasons } from '@boxcar/core/model/unserved'
import { obstacle } from '@boxcar/core/placement/obstacle'
import { z } from 'zod'

const wallTime = z.number()
const hostState = z.enum([
  'ready',
  'suspect',
  'cordoned',
  'draining',
  'engine-down',
  'orders-refused',
  'unknown',
])
const generation = z.int().min(1)
/** 0: it is not known which. */
const generationOrUnknown = z.int().min(0)

/** What one thing wrong with a body, a query or a path is: where, which rule, what was there. */
export const faultView = z
  .object({
    /** JSON pointer (RFC 6901) into the body; `path/…` and `query/…` name a part of the address. */
    pointer: z.string(),
    /** Stable and short: `type`, `range`, `unknown_field`, … */
    code: z.string(),
    /** One sentence. */
    message: z.string(),
    /** What was there, as JSON, at most 64 characters. */
    got: z.string().optional(),
    /** What may stand there, where that is a short list. */
    allowed: z.array(z.string()).optional(),
  })
  .meta({ id: 'Fault' })
export type FaultView = z.infer<typeof faultView>

/** Every refusal: `application/problem+json` (RFC 9457). */
export const problemView = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    /** The last part of `type`; what programs look at. */
    code: z.string(),
    detail: z.string(),
    errors: z.array(faultView),
    requestId: z.string(),
    /** What to do or to run next. */
    next: z.string().optional(),
    /** The present revision of the object, where a condition on it failed. */
    revision: z.string().optional(),
  })
  .meta({ id: 'Problem' })
export type ProblemView = z.infer<typeof problemView>

/** Why an entry is not shown as it is: the others are. Where it stands, what cannot be known is 0, empty or `unknown`. */
export const problemOfEntry = z
  .object({
    /** `unreadable`: a stored record of it cannot be read. `internal-error`: a bug, of which the server's log says more. */
    kind: z.enum(['unreadable', 'internal-error']),
    /** One sentence. */
    reason: z.string(),
  })
  .meta({ id: 'EntryProblem' })
export type ProblemOfEntry = z.infer<typeof problemOfEntry>
const problem = problemOfEntry.optional()

/** Something allowed that a careful operator would not do. */
export const warningView = z
  .object({ pointer: z.string(), code: z.string(), message: z.string() })
  .meta({ id: 'Warning' })
export type WarningView = z.infer<typeof warningView>

/** How many instances of one generation there are, by what they do. */
export const generationCount = z.object({
  generation,
  role: z.enum(['next', 'live', 'old', 'warm', 'leaving']),
  /** How many there shall be; 0 for one that leaves. */
  wanted: z.int(),
  ready: z.int(),
  /** Pulling, starting, or not ready yet. */
  starting: z.int(),
  /** Waiting to be started again after it ended or failed its probes. */
  failing: z.int(),
  /** Told to stop and still there. */
  stopping: z.int(),
})

export const rolloutView = z
  .object({
    service: z.string(),
    /** `accepted`: the leader has not taken it up yet. */
    phase: z.enum(['accepted', 'resolving', 'warming', 'draining', 'settled', 'reverted', 'unknown']),
    /** Where it stands, in one sentence. */
    words: z.string(),
    /** What became of the generation that the spec asks for: `under-way`, `live` (done), or `rejected` (see `rejection`). */
    outcome: z.enum(['under-way', 'live', 'rejected']),
    /** The generation that the spec asks for. */
    asked: generationOrUnknown,
    /** Answers users now. */
    live: generation.optional(),
    /** Being rolled out. */
    next: generation.optional(),
    /** Loses its last requests. */
    old: generation.optional(),
    /** Stopped answering, still runs for an undo. */
    warm: generation.optional(),
    /** The asked generation turned out to be the same container as this one. */
    sameAs: generation.optional(),
    /** Why the asked generation was given up, or the one that an undo led to, with what was seen. */
    rejection: z
      .object({
        generation,
        because: z.string(),
        words: z.string(),
        evidence: z.array(evidence),
        at: wallTime,
      })
      .optional(),
    /** Who answers what part of the traffic. */
    shares: z.array(z.object({ generation, percent: z.number() })),
    counts: z.array(generationCount),
    /** Pinned images by generation. */
    images: z.record(z.string(), z.string()),
    /** When the phase began, by the leader's clock. */
    since: wallTime.optional(),
    /** When it is given up if nothing gets ready, by the leader's clock; for people. */
    deadline: wallTime.optional(),
    problem,
  })
  .meta({ id: 'Rollout' })
export type RolloutView = z.infer<typeof rolloutView>

/** What one host does not serve of a service's routes, and why. */
export const unservedView = z
  .object({
    host: z.string(),
    /** The port; left out: all that the service listens to, or several that are not named. */
    listen: z.int().optional(),
    /** Where it concerns one service alone. */
    service: z.string().optional(),
    /** The address of the host where it is not served; left out: nowhere on it. */
    address: z.string().optional(),
    /** `not-applied`: it is about to take the route up. */
    reason: z.enum([...unservedReasons, 'proxy-failing', 'not-applied']),
    /** Who has the port instead: `process 812 (sshd)`. */
    holder: z.string().optional(),
    detail: z.string().optional(),
    /** All of that in one sentence. */
    words: z.string(),
    /** What to do about it. */
    next: z.string(),
  })
  .meta({ id: 'Unserved' })
export type UnservedView = z.infer<typeof unservedView>

/** How many of the hosts that are there answer on all of a service's routes, and what the others miss, 16 at most. */
export const servingView = z
  .object({ hosts: z.int(), of: z.int(), unserved: z.array(unservedView) })
  .meta({ id: 'Serving' })
export type ServingView = z.infer<typeof servingView>

/** One obstacle, with its numbers and in words. */
const obstacleView = z.intersection(obstacle, z.object({ words: z.string() }))

/** A running instance that could not be placed where it stands, were it placed now: labels, `maxPerHost`, capacity. */
export const misplacedView = z
  .object({ instance: z.string(), host: z.string(), obstacles: z.array(obstacleView) })
  .meta({ id: 'Misplaced' })
export type MisplacedView = z.infer<typeof misplacedView>

/** The first that holds, but `deleting`: waiting, rolling-out, reverted, degraded, misplaced, ready. */
export const serviceStatus = z.enum([
  'ready',
  'rolling-out',
  'degraded',
  'waiting',
  'reverted',
  /** All that is asked for is ready, and some of it stands where it could not be placed now. */
  'misplaced',
  'deleting',
  /** See `problem`. */
  'unknown',
])
export type ServiceStatus = z.infer<typeof serviceStatus>

export const serviceView = z
  .object({
    cluster: z.string(),
    project: z.string(),
    name: z.string(),
    /** `project/name`. */
    service: z.string(),
    uid: z.string(),
    /** Of the spec: what `ETag` says, and `If-Match` takes. */
    revision: z.string(),
    /** As written. */
    spec: z.record(z.string(), z.unknown()),
    /** The generation that the spec asks for. */
    generation: generationOrUnknown,
    /** The image of that generation, as written. */
    image: z.string(),
    /** In force: as written, or as scaled to. */
    replicas: z.int(),
    /** Ready instances of the generation that answers users. */
    ready: z.int(),
    /** A generation answers users on every host, and all of its instances are ready; whatever else is under way or was given up. */
    available: z.boolean(),
    status: serviceStatus,
    /** Why, in one sentence. */
    reason: z.string(),
    /** Running instances that could not be placed where they stand, were they placed now. */
    misplaced: z.int(),
    /** What to do about them. */
    next: z.string().optional(),
    rollout: rolloutView,
    /** Left out where the service has no routes. */
    serving: servingView.optional(),
    by: z.string(),
    at: wallTime,
    problem,
  })
  .meta({ id: 'Service' })
export type ServiceView = z.infer<typeof serviceView>

/** The answer to a PUT or PATCH of a service. */
export const savedView = z
  .object({
    service: serviceView,
    generation,
    changed: z.enum(['created', 'new-generation', 'in-place', 'unchanged']),
    /** The image asked for before, where a new generation came. */
    previousImage: z.string().optional(),
    warnings: z.array(warningView),
  })
  .meta({ id: 'Saved' })
export type SavedView = z.infer<typeof savedView>

export const generationView = z
  .object({
    service: z.string(),
    generation,
    uid: z.string(),
    image: z.string(),
    /** With its digest, as the cluster resolved it. */
    pinned: z.string().optional(),
    role: z.enum(['accepted', 'next', 'live', 'old', 'warm', 'rejected', 'earlier', 'unknown']),
    sameAs: generation.optional(),
    /** Why it was given up last. */
    rejection: z.object({ because: z.string(), words: z.string(), at: wallTime }).optional(),
    /** As written: the part of the spec that makes the container. */
    template: z.record(z.string(), z.unknown()),
    by: z.string(),
    at: wallTime,
    problem,
  })
  .meta({ id: 'Generation' })
export type GenerationView = z.infer<typeof generationView>

export const instanceView = z
  .object({
    /** `shop/web/7/2`. */
    id: z.string(),
    project: z.string(),
    service: z.string(),
    generation: generationOrUnknown,
    slot: z.int(),
    role: z.enum([...generationCount.shape.role.options, 'unknown']),
    host: z.string(),
    /** The host's address, where it is known. */
    address: z.string().optional(),
    hostState: z.enum([...hostState.options, 'removed']),
    desired: z.enum(['run', 'stop', 'unknown']),
    because: z.string(),
    /** `assigned`: the host has not reported on it yet. `unknown`: see `problem`. */
    state: z.enum(['assigned', ...instanceState.options, 'unknown']),
    reason: z.string().optional(),
    attempt: z.int(),
    restarts: z.int(),
    exit: z.object({ code: z.int(), oomKilled: z.boolean(), at: wallTime }).optional(),
    /** `silent`: it got no answer in time. */
    probe: z.object({ kind: z.string(), output: z.string(), silent: z.boolean().optional() }).optional(),
    lastLog: z.array(z.string()).optional(),
    container: z.string().optional(),
    since: wallTime.optional(),
    image: z.string(),
    cpuMilli: z.int(),
    memoryMiB: z.int(),
    /** Host port by port name. */
    ports: z.record(z.string(), z.int()),
    problem,
    /** Why it could not be placed there, were it placed now; none where it could, and of instances that leave. */
    misplaced: z.array(obstacleView).optional(),
  })
  .meta({ id: 'Instance' })
export type InstanceView = z.infer<typeof instanceView>

const room = z.object({ cpuMilli: z.int(), memoryMiB: z.int() })
const saidBy = z.object({ by: z.string(), why: z.string(), at: wallTime })

export const hostView = z
  .object({
    cluster: z.string(),
    id: z.string(),
    /**
     * `suspect`: the host's presence key is missing; the leader asks it directly and decides. `orders-refused`: it goes on with
     * what runs and takes no new work, since it does not believe the store. `unknown`: see `problem`.
     */
    state: hostState,
    reason: z.string().optional(),
    present: z.boolean(),
    address: z.string(),
    agentPort: z.int(),
    capacity: room,
    used: room,
    free: room,
    instances: z.int(),
    /** Ids of instances that run here and could not be placed here now. */
    misplaced: z.array(z.string()),
    /** The host's own and those of operators; the latter win. */
    labels: z.record(z.string(), z.string()),
    cordon: saidBy.optional(),
    drain: saidBy.optional(),
    engine: z.object({
      version: z.string(),
      state: z.enum(['up', 'down', 'unknown']),
      reason: z.string().optional(),
    }),
    proxy: z.object({
      version: z.string(),
      state: z.enum(['up', 'failing', 'off', 'unknown']),
      reason: z.string().optional(),
    }),
    /** The route revision that the host's proxy applies; none while the proxy fails or the host is away. */
    routesApplied: z.string().optional(),
    /** What its proxy cannot serve of them: 16 at most, and then how many more. */
    unserved: z.array(unservedView).optional(),
    /** What else is not as it should be there at present: `state-not-saved`, `engine-events-missing`, …; one of each kind. */
    conditions: z.array(hostCondition).optional(),
    agentVersion: z.string(),
    /** Host ports that may be handed out, both ends included. */
    ports: z.object({ from: z.int(), to: z.int() }),
    problem,
  })
  .meta({ id: 'Host' })
export type HostView = z.infer<typeof hostView>

/** What a drain moves, and what is in its way. */
export const drainView = z
  .object({
    host: hostView,
    /** Instances that move to other hosts. */
    moves: z.array(z.string()),
  })
  .meta({ id: 'Drain' })
export type DrainView = z.infer<typeof drainView>

export const routeView = z
  .object({
    service: z.string(),
    ...listener.shape,
    /** Of the service's routes. */
    revision: z.string(),
    /** Where users find it, on the first 16 hosts that answer: `http://10.0.0.1:8080/`, `10.0.0.1:5432`. */
    addresses: z.array(z.string()),
    backings: z.array(
      z.object({
        generation,
        percent: z.number(),
        endpoints: z.array(z.object({ instance: z.string(), address: z.string(), port: z.int().optional() })),
      }),
    ),
    /** How many of the hosts that are there apply this revision or a later one, and answer there. */
    applied: z.object({ hosts: z.int(), of: z.int() }),
    /** What the others miss, 16 at most. */
    unserved: z.array(unservedView).optional(),
    problem,
  })
  .meta({ id: 'Route' })
export type RouteView = z.infer<typeof routeView>

/** What is the matter with the store, and what mends it. */
const storeProblemView = z
  .object({
    kind: z.string(),
    /** `fail`: something does not work now. `warn`: it may stop to. `advice`: it would work better otherwise. */
    level: z.enum(['fail', 'warn', 'advice']),
    /** Of the member that it is about; left out where it is about all. */
    endpoint: z.string().optional(),
    message: z.string(),
    /** What to do, in order; commands are written as they are to be run. */
    next: z.array(z.string()),
  })
  .meta({ id: 'StoreProblem' })

export const clusterView = z
  .object({
    name: z.string(),
    uid: z.string(),
    epoch: z.int(),
    /** Of the server that answers. */
    version: z.string(),
    /** Left out while none is known to be alive; `leaderless` says since when then. */
    leader: z.object({ address: z.string(), term: z.string() }).optional(),
    /** Since when the server that answers has seen no leader, and why, in one sentence. */
    leaderless: z.object({ since: wallTime, reason: z.string() }).optional(),
    store: z.object({
      kind: z.enum(['memory', 'etcd']),
      reachable: z.boolean(),
      endpoints: z.array(z.string()),
      members: z.array(
        z.object({
          endpoint: z.string(),
          version: z.string(),
          reachable: z.boolean(),
          leader: z.boolean(),
          dbBytes: z.number(),
          /** What is not known of a member is left out, as of one that does not answer. */
          dbBytesInUse: z.number().optional(),
          quotaBytes: z.number().optional(),
          raftIndex: z.number().optional(),
          raftAppliedIndex: z.number().optional(),
          hasLeader: z.boolean().optional(),
          learner: z.boolean().optional(),
        }),
      ),
      /** Raised by members, and in force until somebody disarms them: `NOSPACE`, `CORRUPT`. */
      alarms: z.array(z.object({ kind: z.string(), endpoint: z.string() })),
      problems: z.array(storeProblemView),
    }),
    /** The store revision that this answer is made from. */
    revision: z.string(),
    counts: z.object({
      hosts: z.int(),
      hostsReady: z.int(),
      projects: z.int(),
      services: z.int(),
      /** Those that are available. */
      servicesReady: z.int(),
      instances: z.int(),
      instancesReady: z.int(),
      /** Running where they could not be placed now. */
      instancesMisplaced: z.int(),
    }),
  })
  .meta({ id: 'Cluster' })
export type ClusterView = z.infer<typeof clusterView>

export const projectView = z
  .object({ name: z.string(), services: z.int(), instances: z.int() })
  .meta({ id: 'Project' })
export type ProjectView = z.infer<typeof projectView>

export const whyView = z
  .object({
    /** A service or an instance id. */
    about: z.string(),
    /** The whole answer in one sentence. */
    summary: z.string(),
    /** What is in the way of the whole service, wherever it would run. */
    obstacles: z.array(obstacleView),
    /** What is in the way of instances that no host can take. */
    waiting: z.array(
      z.object({
        instance: z.string(),
        hosts: z.array(z.object({ host: z.string(), obstacles: z.array(obstacleView) })),
      }),
    ),
    /** How many wait in all: `waiting` tells of one, since replicas of a service wait for the same. */
    waitingCount: z.int(),
    /** Instances that are not ready, with what was seen of them. */
    unready: z.array(instanceView),
    /** Instances that could not be placed where they stand, were they placed now. */
    misplaced: z.array(misplacedView),
    /** What hosts do not serve of its routes. */
    unserved: z.array(unservedView).optional(),
    /** Why the asked generation was given up. */
    rejection: rolloutView.shape.rejection,
    /** The smallest change that would help, where one is known. */
    fix: z.string().optional(),
  })
  .meta({ id: 'Why' })
export type WhyView = z.infer<typeof whyView>

export const differenceView = z.object({
  pointer: z.string(),
  before: z.unknown().optional(),
  after: z.unknown().optional(),
  /** `generation`: changes the container. `in-place`: makes no generation. */
  effect: z.enum(['generation', 'in-place']),
  /** Of a field in place: from when on, where what runs does not take it up at once. */
  from: z.string().optional(),
})
export type DifferenceView = z.infer<typeof differenceView>

/** What a PUT of each spec would do. Nothing is written. */
export const planView = z
  .object({
    project: z.string(),
    services: z.array(
      z.object({
        name: z.string(),
        service: z.string(),
        change: z.enum(['create', 'new-generation', 'in-place', 'unchanged']),
        /** Why it does or does not make a generation. */
        because: z.string(),
        generation,
        /** Of the spec that this was compared with; hand it to a PUT as `If-Match`. None: there is none yet. */
        revision: z.string().optional(),
        differences: z.array(differenceView),
        /** How the new generation takes over; none where none comes. */
        strategy: z.object({ name: z.enum(['blue-green', 'first']), because: z.string() }).optional(),
        warnings: z.array(warningView),
        /** Instances that run on and could not be placed where they stand under this spec. */
        misplaced: z.array(misplacedView),
        /** What to do about them. */
        next: z.string().optional(),
      }),
    ),
  })
  .meta({ id: 'Plan' })
export type PlanView = z.infer<typeof planView>

/** The answer to an undo or abort. */
export const actedView = z
  .object({
    /** `done`: the leader has acted. `asked`: it has not yet; the intent stands. */
    outcome: z.enum(['done', 'asked']),
    rollout: rolloutView,
  })
  .meta({ id: 'Acted' })
export type ActedView = z.infer<typeof actedView>

/** The answer to a DELETE: what runs is being stopped. */
export const deletedView = z
  .object({ service: z.string(), uid: z.string(), instances: z.int() })
  .meta({ id: 'Deleted' })
export type DeletedView = z.infer<typeof deletedView>

export const eventView = z
  .object({
    /** `<store revision>.<index in it>`; hand it back as `Last-Event-ID`. */
    id: z.string(),
    at: wallTime,
    kind: z.string(),
    message: z.string(),
    level: z.enum(['info', 'warning', 'error']),
    writer: z.string(),
    term: z.string().optional(),
    actor: z.string().optional(),
    requestId: z.string().optional(),
    project: z.string().optional(),
    service: z.string().optional(),
    host: z.string().optional(),
    instance: z.string().optional(),
    generation: z.number().optional(),
  })
  .meta({ id: 'Event' })
export type EventView = z.infer<typeof eventView>

export const logLine = z
  .object({
    /** By the host's wall clock. */
    at: wallTime,
    stream: z.enum(['stdout', 'stderr']),
    line: z.string(),
    /** Which instance said it. */
    instance: z.string(),
  })
  .meta({ id: 'LogLine' })
export type LogLine = z.infer<typeof logLine>

export const versionView = z
  .object({ version: z.string(), node: z.string(), cluster: z.string() })
  .meta({ id: 'Version' })
export type VersionView = z.infer<typeof versionView>

export const readyView = z
  .object({
    ready: z.boolean(),
    checks: z.array(z.object({ name: z.string(), ok: z.boolean(), message: z.string() })),
  })
  .meta({ id: 'Ready' })
export type ReadyView = z.infer<typeof readyView>
