/**
 * Every field of a service spec: what it means, its unit and default, and what a change of it does. `boxcar explain` prints
 * it, docs/spec.md is made of it, and a test compares it with the schema, so that none of the three can fall behind.
 */
import { effectiveFrom } from '@boxcar/core/model/in-place'

export interface SpecField {
  /** Such as `resources.limits.memory`; `[]` for entries of a list, `<name>` for free keys. */
  readonly path: string
  readonly meaning: string
  /** What may stand there. */
  readonly takes: string
  /** In force where it is left out; none where it must be given. */
  readonly fallback?: string
  /** `generation`: a change makes a new generation. `in-place`: none, see `effectiveFrom` for when it counts. */
  readonly effect: 'generation' | 'in-place' | 'identity'
  /** Known, refused until it is built. */
  readonly support?: 'not yet'
}

const size = 'a size: KiB, MiB, GiB (Docker: k, m, g)'
const time = 'a time: ms, s, m, h'

const probe = (path: string, when: string, every: string, failures: string): readonly SpecField[] => [
  {
    path,
    meaning: when,
    takes: 'an object with exactly one of http, tcp, exec, docker',
    fallback: 'none',
    effect: 'generation',
  },
  {
    path: `${path}.http`,
    meaning: 'a path that is asked with GET',
    takes: 'a path such as /healthz',
    effect: 'generation',
  },
  {
    path: `${path}.headers`,
    meaning: 'headers of that request',
    takes: 'names and values',
    fallback: 'none',
    effect: 'generation',
  },
  {
    path: `${path}.status`,
    meaning: 'answers that count as healthy',
    takes: 'a list of 100 to 599',
    fallback: '200 to 399',
    effect: 'generation',
  },
  { path: `${path}.tcp`, meaning: 'a connection can be made', takes: 'true', effect: 'generation' },
  {
    path: `${path}.exec`,
    meaning: 'a command in the container ends with status 0',
    takes: 'a list of words',
    effect: 'generation',
  },
  {
    path: `${path}.docker`,
    meaning: "the image's own HEALTHCHECK says healthy",
    takes: 'true',
    effect: 'generation',
  },
  {
    path: `${path}.port`,
    meaning: 'which port is asked',
    takes: 'a name from ports',
    fallback: 'the first port',
    effect: 'generation',
  },
  {
    path: `${path}.every`,
    meaning: 'time between two probes',
    takes: time,
    fallback: every,
    effect: 'generation',
  },
  {
    path: `${path}.timeout`,
    meaning: 'an answer later than this is a failure',
    takes: time,
    fallback: '1s',
    effect: 'generation',
  },
  {
    path: `${path}.failures`,
    meaning: 'failures in a row until it counts',
    takes: 'a whole number',
    fallback: failures,
    effect: 'generation',
  },
]

export const specFields: readonly SpecField[] = [
  {
    path: 'name',
    meaning: 'the service in its project',
    takes: 'lower-case letters, digits and hyphens, at most 40',
    effect: 'identity',
  },
  {
    path: 'image',
    meaning: 'what runs; its tag is resolved to a digest once per generation',
    takes: 'an image reference',
    effect: 'generation',
  },
  {
    path: 'mode',
    meaning: 'replicated: so many instances as replicas says',
    takes: "'replicated'; global and job are not supported yet",
    fallback: 'replicated',
    effect: 'in-place',
  },
  {
    path: 'replicas',
    meaning: 'how many instances',
    takes: '0 to 10000',
    fallback: '1 at first, later what it was scaled to',
    effect: 'in-place',
  },
  {
    path: 'command',
    meaning: "arguments in the place of the image's CMD",
    takes: 'a list of words',
    fallback: "the image's",
    effect: 'generation',
  },
  {
    path: 'entrypoint',
    meaning: "program in the place of the image's ENTRYPOINT",
    takes: 'a list of words',
    fallback: "the image's",
    effect: 'generation',
  },
  {
    path: 'user',
    meaning: 'who runs it',
    takes: 'user or user:group',
    fallback: "the image's",
    effect: 'generation',
  },
  {
    path: 'workdir',
    meaning: 'the working directory',
    takes: 'an absolute path',
    fallback: "the image's",
    effect: 'generation',
  },
  {
    path: 'env',
    meaning: 'environment variables',
    takes: 'at most 1000 names and values: text, numbers, booleans',
    fallback: 'none',
    effect: 'generation',
  },
  {
    path: 'labels',
    meaning: 'labels of the container',
    takes: 'at most 256 names and text; boxcar.* is reserved',
    fallback: 'none',
    effect: 'generation',
  },
  {
    path: 'stop',
    meaning: 'how a container is stopped',
    takes: 'an object',
    fallback: 'as below',
    effect: 'generation',
  },
  {
    path: 'stop.signal',
    meaning: 'the signal that asks it to end',
    takes: 'SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 or SIGKILL',
    fallback: 'SIGTERM',
    effect: 'generation',
  },
  {
    path: 'stop.grace',
    meaning: 'time until SIGKILL',
    takes: `${time}; 0s to 1h`,
    fallback: '10s',
    effect: 'generation',
  },
  {
    path: 'init',
    meaning: 'a small init as process 1, which reaps orphans',
    takes: 'true or false',
    fallback: 'false',
    effect: 'generation',
  },
  {
    path: 'readOnly',
    meaning: 'the root file system cannot be written',
    takes: 'true or false',
    fallback: 'false',
    effect: 'generation',
  },
  {
    path: 'tmpfs',
    meaning: 'folders in memory',
    takes: 'a list of absolute paths, not in /proc or /sys',
    fallback: 'none',
    effect: 'generation',
  },
  {
    path: 'shmSize',
    meaning: 'size of /dev/shm',
    takes: `${size}; 1MiB to 64GiB`,
    fallback: "the engine's",
    effect: 'generation',
  },
  {
    path: 'extraHosts',
    meaning: 'more names in /etc/hosts',
    takes: 'at most 256 names and IP addresses',
    fallback: 'none',
    effect: 'generation',
  },
  {
    path: 'capabilities',
    meaning: 'what the kernel lets it do',
    takes: 'an object',
    fallback: 'as below',
    effect: 'generation',
  },
  {
    path: 'capabilities.drop',
    meaning: 'capabilities to take away',
    takes: 'a list such as [ALL] or [NET_RAW]',
    fallback: 'none',
    effect: 'generation',
  },
  {
    path: 'capabilities.add',
    meaning: 'capabilities to give',
    takes: 'a list',
    effect: 'generation',
    support: 'not yet',
  },
  {
    path: 'ulimits',
    meaning: 'limits of the processes',
    takes: 'nofile, nproc, core, memlock, stack, fsize, each with soft and hard; -1 is no limit',
    fallback: "the engine's",
    effect: 'generation',
  },
  {
    path: 'sysctls',
    meaning: 'kernel settings of the container',
    takes: 'names and values',
    effect: 'generation',
    support: 'not yet',
  },
  {
    path: 'devices',
    meaning: 'devices of the host',
    takes: 'a list',
    effect: 'generation',
    support: 'not yet',
  },
  {
    path: 'logging',
    meaning: 'another log driver',
    takes: 'an object',
    effect: 'generation',
    support: 'not yet',
  },
  {
    path: 'volumes',
    meaning: 'data that outlive the container',
    takes: 'a list',
    effect: 'generation',
    support: 'not yet',
  },
  {
    path: 'exclusive',
    meaning: 'never two at once, anywhere',
    takes: 'an object',
    effect: 'generation',
    support: 'not yet',
  },
  {
    path: 'resources',
    meaning: 'room on a host',
    takes: 'an object',
    fallback: 'as below',
    effect: 'generation',
  },
  {
    path: 'resources.reservations',
    meaning: 'what placing counts',
    takes: 'an object',
    fallback: 'as below',
    effect: 'generation',
  },
  {
    path: 'resources.reservations.cpus',
    meaning: 'cores that are kept for it',
    takes: 'a number of cores, such as 0.5',
    fallback: '0.1, with a warning',
    effect: 'generation',
  },
  {
    path: 'resources.reservations.memory',
    meaning: 'memory that is kept for it',
    takes: `${size}; from 4MiB`,
    fallback: '64MiB, with a warning',
    effect: 'generation',
  },
  {
    path: 'resources.reservations.gpus',
    meaning: 'GPUs that are kept for it',
    takes: '0',
    effect: 'generation',
    support: 'not yet',
  },
  {
    path: 'resources.limits',
    meaning: 'what the container may use at most',
    takes: 'an object',
    fallback: 'as below',
    effect: 'generation',
  },
  {
    path: 'resources.limits.cpus',
    meaning: 'cores that it may use',
    takes: 'a number of cores',
    fallback: 'no limit',
    effect: 'generation',
  },
  {
    path: 'resources.limits.memory',
    meaning: 'memory that it may use; beyond it the kernel kills it',
    takes: `${size}; from 6MiB`,
    fallback: 'no limit',
    effect: 'generation',
  },
  {
    path: 'resources.limits.pids',
    meaning: 'processes and threads that it may have',
    takes: '1 to 4194304',
    fallback: '4096',
    effect: 'generation',
  },
  {
    path: 'ports',
    meaning: 'ports that the container listens on',
    takes: 'a list',
    fallback: 'none',
    effect: 'generation',
  },
  {
    path: 'ports[].name',
    meaning: 'what routes and probes call it',
    takes: 'lower-case letters, digits and hyphens, at most 15',
    effect: 'generation',
  },
  {
    path: 'ports[].container',
    meaning: 'the number in the container',
    takes: '1 to 65535',
    effect: 'generation',
  },
  {
    path: 'ports[].hostPort',
    meaning: 'a fixed number on the host; one instance a host then',
    takes: '1 to 65535',
    fallback: 'a free one is chosen',
    effect: 'generation',
  },
  {
    path: 'health',
    meaning: 'how one knows that an instance works',
    takes: 'an object',
    fallback: "the image's HEALTHCHECK, else a connection to the routed port",
    effect: 'generation',
  },
  ...probe('health.startup', 'holds the other probes back until the instance has started', '1s', '60'),
  ...probe('health.readiness', 'whether users are sent to it; restarts nothing', '2s', '2'),
  ...probe('health.liveness', 'restarts it when it fails; moves no traffic', '5s', '3'),
  {
    path: 'routes',
    meaning: 'addresses that users call, on every host',
    takes: 'a list',
    fallback: 'none',
    effect: 'in-place',
  },
  { path: 'routes[].port', meaning: 'which port answers', takes: 'a name from ports', effect: 'in-place' },
  { path: 'routes[].listen', meaning: 'the port on every host', takes: '1 to 65535', effect: 'in-place' },
  {
    path: 'routes[].protocol',
    meaning: 'http is routed by host name and path, tcp by port alone',
    takes: 'http or tcp',
    fallback: 'http',
    effect: 'in-place',
  },
  {
    path: 'routes[].hostnames',
    meaning: 'host names of the requests',
    takes: 'a list of lower-case names (HTTP only)',
    fallback: 'every name that nobody else claims',
    effect: 'in-place',
  },
  {
    path: 'routes[].path',
    meaning: 'a prefix of whole path segments; it routes, it does not protect',
    takes: 'a path such as / or /shop (HTTP only)',
    fallback: '/',
    effect: 'in-place',
  },
  {
    path: 'routes[].expose',
    meaning: 'public: all addresses of the host; private: loopback and containers (boxcar.internal)',
    takes: 'public or private',
    fallback: 'public for HTTP, private for TCP',
    effect: 'in-place',
  },
  {
    path: 'placement',
    meaning: 'which hosts are taken',
    takes: 'an object',
    fallback: 'as below',
    effect: 'in-place',
  },
  {
    path: 'placement.strategy',
    meaning: 'spread: over as many hosts as there are; pack: on as few as possible',
    takes: 'spread or pack',
    fallback: 'spread',
    effect: 'in-place',
  },
  {
    path: 'placement.where',
    meaning: 'conditions on the labels of a host; all must hold',
    takes: "a list of 'key', '!key', 'key = value', 'key != value', 'key in (a, b)', 'key not in (a, b)'",
    fallback: 'none',
    effect: 'in-place',
  },
  {
    path: 'placement.maxPerHost',
    meaning: 'at most so many instances of it on one host',
    takes: '1 to 10000',
    fallback: 'no limit',
    effect: 'in-place',
  },
  {
    path: 'placement.spreadBy',
    meaning: 'spread over the values of a label',
    takes: 'a list',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'placement.near',
    meaning: 'the same host as another service',
    takes: 'a list',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'placement.apart',
    meaning: 'not on the same host as another service',
    takes: 'a list',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'placement.tolerate',
    meaning: 'taints of hosts that do not matter',
    takes: 'a list',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'placement.priority',
    meaning: 'who gives way when there is too little room',
    takes: '0',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'restart',
    meaning: 'what happens when it ends',
    takes: 'an object',
    fallback: 'as below',
    effect: 'in-place',
  },
  {
    path: 'restart.policy',
    meaning: 'always: it is started again whatever its exit status',
    takes: "'always'",
    fallback: 'always',
    effect: 'in-place',
  },
  {
    path: 'restart.backoff',
    meaning: 'how long to wait before a restart',
    takes: 'an object',
    fallback: 'as below',
    effect: 'in-place',
  },
  {
    path: 'restart.backoff.first',
    meaning: 'before the first restart',
    takes: time,
    fallback: '0s',
    effect: 'in-place',
  },
  {
    path: 'restart.backoff.then',
    meaning: 'before the second one; three times as long each time from there',
    takes: time,
    fallback: '1s',
    effect: 'in-place',
  },
  {
    path: 'restart.backoff.cap',
    meaning: 'never longer than this',
    takes: time,
    fallback: '1m',
    effect: 'in-place',
  },
  {
    path: 'restart.backoff.resetAfter',
    meaning: 'after running so long, the next restart is a first one',
    takes: time,
    fallback: '5m',
    effect: 'in-place',
  },
  {
    path: 'rollout',
    meaning: 'how the next generation takes over',
    takes: 'an object',
    fallback: 'as below',
    effect: 'in-place',
  },
  {
    path: 'rollout.strategy',
    meaning: 'blue-green: start all of the next, then move all traffic at once',
    takes: "'auto' or 'blue-green'; canary, rolling and recreate are not supported yet",
    fallback: 'auto',
    effect: 'in-place',
  },
  {
    path: 'rollout.promote',
    meaning: 'auto: traffic moves as soon as all are ready',
    takes: "'auto'; manual is not supported yet",
    fallback: 'auto',
    effect: 'in-place',
  },
  {
    path: 'rollout.progressDeadline',
    meaning: 'not ready for so long: given up, the stable generation goes on',
    takes: `${time}; 1s to 24h`,
    fallback: '5m',
    effect: 'in-place',
  },
  {
    path: 'rollout.drain',
    meaning: 'time for requests in flight on the old generation',
    takes: `${time}; 0s to 1h`,
    fallback: '30s',
    effect: 'in-place',
  },
  {
    path: 'rollout.keepWarm',
    meaning: 'the old generation runs on for so long, so that an undo is instant',
    takes: `${time}; 0s to 24h`,
    fallback: '10m',
    effect: 'in-place',
  },
  {
    path: 'rollout.verify',
    meaning: "tests in the next generation's image before any traffic",
    takes: 'an object',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'rollout.preDeploy',
    meaning: 'a command once a generation, before traffic',
    takes: 'an object',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'rollout.steps',
    meaning: 'traffic in steps, with gates',
    takes: 'a list',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'rollout.preview',
    meaning: 'a header or cookie that reaches the next generation',
    takes: 'an object',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'rollout.sticky',
    meaning: 'a user never goes back to the older generation',
    takes: 'true or false',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'rollout.surge',
    meaning: 'how many more than replicas while rolling',
    takes: 'a whole number',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'rollout.minAvailable',
    meaning: 'how many must answer while rolling',
    takes: 'a percentage',
    effect: 'in-place',
    support: 'not yet',
  },
  {
    path: 'keepGenerations',
    meaning: 'how many generations are remembered',
    takes: '1 to 100',
    fallback: '20',
    effect: 'in-place',
  },
]

/** What the effect of a change is, for people. */
export function effectWords(field: SpecField): string {
  switch (field.effect) {
    case 'generation':
      return 'makes a new generation'
    case 'in-place':
      return ['takes effect in place, no new generation', effectiveFrom(topOf(field))]
        .filter(clause => clause !== undefined)
        .join(': ')
    case 'identity':
      return 'another name is another service'
  }
}

/** The top-level field that it is, or is part of. */
export const topOf = ({ path }: SpecField): string => path.split(/[.[]/, 1)[0] ?? path
