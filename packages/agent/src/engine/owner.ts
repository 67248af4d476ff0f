import { labels } from './engine.ts'

/** Whose containers an engine of ours sees and touches. */
export interface Owner {
  readonly cluster: string
  readonly host: string
}

export const isOwn = (owner: Owner, seen: Readonly<Record<string, string>>): boolean =>
  seen[labels.cluster] === owner.cluster && seen[labels.host] === owner.host

/** The same as a filter of the engine's lists and events. */
export const ownLabels = (owner: Owner): readonly string[] => [
  `${labels.cluster}=${owner.cluster}`,
  `${labels.host}=${owner.host}`,
]

/** The labels that make a container the owner's. */
export const ownerLabels = (owner: Owner): Readonly<Record<string, string>> => ({
  [labels.cluster]: owner.cluster,
  [labels.host]: owner.host,
})
