/** Refusals of what is not there: each names it, and what comes near it. */
import {
  type HostId,
  type InstancePlace,
  instanceId,
  type ServiceName,
  serviceParts,
} from '@boxcar/core/model/ids'
import { nearest } from './faults.ts'
import type { Picture } from './picture.ts'
import type { Refusal } from './refusal.ts'

type Known = Pick<Picture, 'service' | 'serviceNames' | 'hostIds' | 'generations'>
type Absent = Extract<Refusal, { kind: 'absent' }>

/** Where to look is the caller's to say: it knows where its project came from. */
export function noService(known: Known, name: ServiceName): Absent {
  const { project, short } = serviceParts(name)
  const names = known.serviceNames().map(serviceParts)
  const here = like(
    short,
    names.filter(it => it.project === project).map(it => it.short),
  )
  const elsewhere = names.find(it => it.short === short && it.project !== project)
  return {
    kind: 'absent',
    what: `service ${short} in project ${project}`,
    ...hintOf(elsewhere === undefined ? here : `${elsewhere.project}/${elsewhere.short}`),
  }
}

export function noGeneration(known: Known, name: ServiceName, number: number): Absent {
  if (known.service(name) === undefined) return noService(known, name)
  const kept = known.generations(name).map(it => it.generation)
  return {
    kind: 'absent',
    what: `generation ${number} of service ${name}${kept.length === 0 ? '' : `; kept are ${kept.join(', ')}`}`,
    next: `boxcar get generations ${name}`,
  }
}

export function noInstance(known: Known, place: InstancePlace): Absent {
  if (known.service(place.service) === undefined) return noService(known, place.service)
  return {
    kind: 'absent',
    what: `instance ${instanceId(place)}`,
    next: `boxcar get instances ${place.service}`,
  }
}

export const noHost = (known: Known, id: HostId): Absent => ({
  kind: 'absent',
  what: `host ${id}`,
  ...hintOf(like(id, known.hostIds())),
  next: 'boxcar get hosts',
})

/** Comparing takes time by the number of names: a wrong one must not cost much. */
const mostCompared = 1000

const like = (name: string, known: readonly string[]): string | undefined =>
  known.length > mostCompared ? undefined : nearest(name, known)

const hintOf = (near: string | undefined): { readonly near?: string } => (near === undefined ? {} : { near })
