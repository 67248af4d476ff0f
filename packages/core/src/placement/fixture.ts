/** Small hosts, loads and asks for the tests of this folder. */
import type { HostId, InstanceId } from '../model/ids.ts'
import type { Ask } from './choose.ts'
import { HostColumns, type HostView, type Load } from './columns.ts'

export const id = (text: string) => text as HostId
export const instance = (text: string) => text as InstanceId

export const host = (name: string, fields: Partial<Omit<HostView, 'id'>> = {}): HostView => ({
  id: id(name),
  accepts: undefined,
  labels: {},
  cpuMilli: 4000,
  memoryMiB: 4096,
  ports: { from: 20_000, to: 20_099 },
  ...fields,
})

export const load = (name: string, fields: Partial<Omit<Load, 'instance'>> = {}): Load => ({
  instance: instance(name),
  cpuMilli: 1000,
  memoryMiB: 1024,
  ports: {},
  ...fields,
})

export const ask = (fields: Partial<Ask> = {}): Ask => ({
  cpuMilli: 1000,
  memoryMiB: 1024,
  dynamicPorts: [],
  fixedPorts: [],
  where: [],
  maxPerHost: undefined,
  strategy: 'spread',
  have: new Map(),
  avoid: new Map(),
  ...fields,
})

export function columnsOf(...hosts: readonly HostView[]): HostColumns {
  const columns = new HostColumns()
  for (const each of hosts) columns.upsert(each)
  return columns
}
