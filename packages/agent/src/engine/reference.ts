/** Image references as Docker writes them: `[registry/]path[:tag][@digest]`. */
import { type Digest, isDigest } from './engine.ts'

export interface Reference {
  /** As it was written, without tag and digest. */
  readonly name: string
  /** The same with registry and `library/` filled in: two names that mean one repository are equal here. */
  readonly repository: string
  /** Left out by its writer: `latest`, unless there is a digest. */
  readonly tag: string | undefined
  readonly digest: Digest | undefined
}

const component = '[a-z0-9]+(?:(?:\\.|_{1,2}|-+)[a-z0-9]+)*'
const grammar = new RegExp(
  `^((?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?(?::\\d{1,5})?/)?${component}(?:/${component})*)(?::([\\w][\\w.-]{0,127}))?(?:@(.+))?$`,
)

/** Takes a reference apart; nothing where it is none, or where it is an image's id. */
export function parseReference(text: string): Reference | undefined {
  const [, name, tag, digest] = grammar.exec(text) ?? []
  if (name === undefined || name.length > 255 || /^[0-9a-f]{64}$/.test(name)) return undefined
  if (digest !== undefined && !isDigest(digest)) return undefined
  return {
    name,
    repository: repositoryOf(name),
    tag: tag ?? (digest === undefined ? 'latest' : undefined),
    digest,
  }
}

/** The digest by which an engine knows an image from this repository, out of its list of `name@digest`. */
export function digestFrom(repoDigests: readonly string[], reference: Reference): Digest | undefined {
  for (const known of repoDigests) {
    const other = parseReference(known)
    if (other?.digest !== undefined && other.repository === reference.repository) return other.digest
  }
  return undefined
}

function repositoryOf(name: string): string {
  const slash = name.indexOf('/')
  const first = slash === -1 ? '' : name.slice(0, slash)
  const isRegistry =
    first.includes('.') || first.includes(':') || first === 'localhost' || first !== first.toLowerCase()
  if (!isRegistry) return `docker.io/${officially(name)}`
  const isHub = first === 'docker.io' || first === 'index.docker.io'
  return isHub ? `docker.io/${officially(name.slice(slash + 1))}` : name
}

const officially = (path: string) => (path.includes('/') ? path : `library/${path}`)
