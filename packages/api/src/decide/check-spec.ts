import { type ServiceSpec, serviceSpec } from '@boxcar/core/model/spec'
import { type Checked, check } from '../faults.ts'
import { show } from '../json.ts'
import type { FaultView } from '../views.ts'
import { claimedTwice, claimsOf } from './claims.ts'
import { isObject } from './merge-patch.ts'

/** One transaction holds so many addresses of a service, besides everything else that is written with a spec. */
export const maxClaims = 48

/** Everything that can be said of a spec without looking at the cluster. `at` goes before each pointer. */
export function checkSpec(text: unknown, at = ''): Checked<ServiceSpec> {
  const checked = check(serviceSpec, text, at)
  if (checked.kind === 'wrong') return checked
  const claims = claimsOf(checked.value.routes)
  const faults: FaultView[] = claimedTwice(claims).map(fault => ({ ...fault, pointer: at + fault.pointer }))
  if (claims.length > maxClaims)
    faults.push({
      pointer: `${at}/routes`,
      code: 'too_many',
      message: `claims ${claims.length} addresses (host names of all routes); at most ${maxClaims} are possible`,
    })
  return faults.length === 0 ? checked : { kind: 'wrong', faults }
}

/** The name may be left out where the address says it; where both do, they must agree. */
export function withName(body: unknown, name: string): Checked<Readonly<Record<string, unknown>>> {
  if (!isObject(body))
    return {
      kind: 'wrong',
      faults: [{ pointer: '', code: 'type', message: 'must be an object', got: show(body) }],
    }
  if (body['name'] === undefined) return { kind: 'good', value: { name, ...body } }
  if (body['name'] === name) return { kind: 'good', value: body }
  return typeof body['name'] === 'string'
    ? {
        kind: 'wrong',
        faults: [
          {
            pointer: '/name',
            code: 'conflict_in_spec',
            message: `must be '${name}', as in the address, or left out`,
            got: show(body['name']),
          },
        ],
      }
    : { kind: 'good', value: body }
}
