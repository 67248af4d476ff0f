/** The kinds of objects, with every word that people type for them. */
import { nearest } from '@boxcar/api/faults'
import { exitStatus, Trouble } from '../exit.ts'
import { didYouMean } from './common.ts'

/** The singular first. */
const wordsOf = {
  projects: ['project', 'proj'],
  services: ['service', 'svc', 'svcs'],
  instances: ['instance', 'inst', 'insts'],
  hosts: ['host'],
  rollouts: ['rollout'],
  routes: ['route'],
  generations: ['generation', 'gen', 'gens'],
} as const satisfies Readonly<Record<string, readonly string[]>>

export type Kind = keyof typeof wordsOf

const kinds: readonly Kind[] = [
  'projects',
  'services',
  'instances',
  'hosts',
  'rollouts',
  'routes',
  'generations',
]

/** What `get` lists. */
export const listedKinds = kinds.join(', ')

/** `services`, `service`, `svc`. Throws Trouble with a suggestion. */
export function listedKind(text: string): Kind {
  return kindOf(text, kinds) ?? refuse(text, { kinds, shown: kinds, verb: 'get' })
}

const described: readonly Kind[] = ['services', 'instances', 'hosts']

/** The same words as for `get`, of what can be described, as the singular. */
export function describedKind(text: string): string {
  const kind = kindOf(text, described)
  if (kind !== undefined) return wordsOf[kind][0]
  return refuse(text, { kinds: described, shown: described.map(it => wordsOf[it][0]), verb: 'describe' })
}

function kindOf(text: string, among: readonly Kind[]): Kind | undefined {
  const word = text.toLowerCase()
  return among.find(kind => kind === word || wordsOf[kind].some(it => it === word))
}

function refuse(
  text: string,
  how: { readonly kinds: readonly Kind[]; readonly shown: readonly string[]; readonly verb: string },
): never {
  const near = nearest(
    text,
    how.kinds.flatMap(kind => [kind, ...wordsOf[kind]]),
  )
  const kind = near === undefined ? undefined : kindOf(near, how.kinds)
  const suggested = kind === undefined ? undefined : how.shown[how.kinds.indexOf(kind)]
  const list = `kinds are ${how.shown.join(', ')}`
  throw new Trouble({
    status: exitStatus.usage,
    what: `${text} is no kind of object${how.verb === 'get' ? '' : ` that boxcar ${how.verb} knows`}`,
    why: suggested === undefined ? `the ${list}` : didYouMean(suggested, `The ${list}`),
    next: `boxcar ${how.verb} --help`,
  })
}
