import { z } from 'zod'

/** Names follow DNS labels, so that they fit host names, container names and proxies without quoting. */
const label = /^[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?$/
const labelWords =
  'lower-case letters, digits and hyphens, starting with a letter, not ending with a hyphen, at most 40 characters'

const hostLabel = /^[a-z0-9](?:[-.a-z0-9]{0,61}[a-z0-9])?$/

export const clusterName = z
  .string()
  .regex(label, { error: `a cluster name has ${labelWords}` })
  .brand<'ClusterName'>()
export const projectName = z
  .string()
  .regex(label, { error: `a project name has ${labelWords}` })
  .brand<'ProjectName'>()
export const serviceShortName = z
  .string()
  .regex(label, { error: `a service name has ${labelWords}` })
  .brand<'ServiceShortName'>()
export const hostId = z
  .string()
  .regex(hostLabel, {
    error: 'a host id has lower-case letters, digits, dots and hyphens, at most 63 characters',
  })
  .brand<'HostId'>()

export type ClusterName = z.infer<typeof clusterName>
export type ProjectName = z.infer<typeof projectName>
/** The name inside its project, as a spec says it: `web`. */
export type ServiceShortName = z.infer<typeof serviceShortName>
export type HostId = z.infer<typeof hostId>

/** A service by its full name: `shop/web`. */
export type ServiceName = string & { readonly __brand: 'ServiceName' }
/** A generation's number, from 1. */
export type GenerationNumber = number & { readonly __brand: 'GenerationNumber' }
/** One running place of a generation: `shop/web/7/2` is project shop, service web, generation 7, slot 2. */
export type InstanceId = string & { readonly __brand: 'InstanceId' }

export interface InstancePlace {
  readonly service: ServiceName
  readonly generation: GenerationNumber
  readonly slot: number
}

export function serviceName(project: ProjectName | string, short: ServiceShortName | string): ServiceName {
  return `${project}/${short}` as ServiceName
}

/** The service that a full name spells, or nothing where it spells none. */
export function parseServiceName(text: string): ServiceName | undefined {
  const [project, short, ...rest] = text.split('/')
  const fits =
    project !== undefined &&
    short !== undefined &&
    rest.length === 0 &&
    label.test(project) &&
    label.test(short)
  return fits ? (text as ServiceName) : undefined
}

export function serviceParts(name: ServiceName): {
  readonly project: ProjectName
  readonly short: ServiceShortName
} {
  const cut = name.indexOf('/')
  return { project: name.slice(0, cut) as ProjectName, short: name.slice(cut + 1) as ServiceShortName }
}

export function instanceId(place: InstancePlace): InstanceId {
  return `${place.service}/${place.generation}/${place.slot}` as InstanceId
}

const instanceText = /^([^/]+\/[^/]+)\/([1-9]\d{0,8})\/(0|[1-9]\d{0,5})$/

/** The place that an instance id spells, or nothing where it spells none. */
export function parseInstanceId(text: string): InstancePlace | undefined {
  const match = instanceText.exec(text)
  const service = match?.[1] === undefined ? undefined : parseServiceName(match[1])
  if (match === null || service === undefined) return undefined
  return { service, generation: Number(match[2]) as GenerationNumber, slot: Number(match[3]) }
}

/** The place of an id that was made by `instanceId`. */
export function placeOf(id: InstanceId): InstancePlace {
  const place = parseInstanceId(id)
  if (place === undefined) throw new Error(`not an instance id: ${id}`)
  return place
}

/** Order by code units: the same on every machine, whatever its locale. */
export const byId = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
