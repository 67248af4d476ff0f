import { type ServiceSpec, serviceSpec } from '@boxcar/core/model/spec'
import { type Checked, check, listed } from '../faults.ts'
import { show } from '../json.ts'
import type { FaultView } from '../views.ts'
import { claimedTwice, claimsOf } from './claims.ts'
import { isObject } from './merge-patch.ts'

/** One transaction holds so many addresses of a service, besides everything else that is written with a spec. */
export const maxClaims = 48

/** As JSON. Values of the store stay below 64 KiB, and more than the text is stored with it. */
const maxSpecBytes = 60 * 1024

/** Everything that can be said of a spec without looking at the cluster. `at` goes before each pointer. */
export function checkSpec(text: unknown, at = ''): Checked<ServiceSpec> {
  const checked = check(serviceSpec, text, at)
  if (checked.kind === 'wrong') return checked
  const faults = listed([...sizeFaults(text), ...addressFaults(checked.value)], at)
  return faults.length === 0 ? checked : { kind: 'wrong', faults }
}

function sizeFaults(text: unknown): readonly FaultView[] {
  const bytes = Buffer.byteLength(JSON.stringify(text))
  if (bytes <= maxSpecBytes) return []
  const message = `has ${bytes} bytes as JSON; at most ${maxSpecBytes} are stored`
  return [{ pointer: '', code: 'too_large', message }]
}

function addressFaults({ routes }: ServiceSpec): readonly FaultView[] {
  const claims = claimsOf(routes)
  if (claims.length <= maxClaims) return claimedTwice(claims)
  const message = `claims ${claims.length} addresses (host names of all routes); at most ${maxClaims} are possible`
  return [{ pointer: '/routes', code: 'too_many', message }]
}

export interface NamedSpec {
  /** With its name. */
  readonly text: Readonly<Record<string, unknown>>
  readonly spec: ServiceSpec
}

/** The name may be left out where the address says it; where both do, they must agree. */
export function checkNamed(body: unknown, name: string): Checked<NamedSpec> {
  if (!isObject(body)) return { kind: 'wrong', faults: [notAnObject(body)] }
  const said = body['name']
  const text = said === undefined ? { name, ...body } : body
  const checked = checkSpec(text)
  const isOther = typeof said === 'string' && said !== name
  if (!isOther)
    return checked.kind === 'wrong' ? checked : { kind: 'good', value: { text, spec: checked.value } }
  const other: FaultView = {
    pointer: '/name',
    code: 'conflict_in_spec',
    message: `must be '${name}', as in the address, or left out`,
    got: show(said),
  }
  const rest = checked.kind === 'wrong' ? checked.faults.filter(fault => fault.pointer !== '/name') : []
  return { kind: 'wrong', faults: listed([other, ...rest]) }
}

export const notAnObject = (body: unknown): FaultView => ({
  pointer: '',
  code: 'type',
  message: 'must be an object',
  got: show(body),
})
