import { byId } from '@boxcar/core/model/ids'
import { expect, test } from 'vitest'
import type { AnyCollection } from './collection.ts'
import { keyOf } from './collection.ts'
import * as keys from './keys.ts'

const rows: readonly [AnyCollection, unknown, string][] = [
  [keys.clusters, 'self', 'cluster/self'],
  [keys.leaders, 'self', 'leader/self'],
  [keys.specs, 'shop/web', 'specs/shop/web'],
  [keys.generations, { service: 'shop/web', number: 7 }, 'generations/shop/web/7'],
  [keys.intents, { service: 'shop/web', id: 'i1' }, 'intents/shop/web/i1'],
  [keys.hostSettingsOf, 'h1', 'host-settings/h1'],
  [keys.hosts, 'h1', 'hosts/h1'],
  [keys.presences, 'h1', 'presence/h1'],
  [keys.reports, { host: 'h1', instance: 'shop/web/7/2' }, 'reports/h1/shop/web/7/2'],
  [keys.routeAcks, 'h1', 'route-acks/h1'],
  [keys.placements, { host: 'h1', instance: 'shop/web/7/2' }, 'placements/h1/shop/web/7/2'],
  [keys.rollouts, 'shop/web', 'rollouts/shop/web'],
  [keys.routes, 'shop/web', 'routes/shop/web'],
  [keys.pendings, 'shop/web', 'pending/shop/web'],
  [keys.events, { writer: 'agent/h1', id: '0001' }, 'events/agent/h1/0001'],
  [keys.claims, { listen: 80, hostname: 'shop.example', path: '/a/b' }, 'route-claims/80/shop.example/a/b'],
  [keys.claims, { listen: 80, hostname: '*', path: '/' }, 'route-claims/80/*/'],
  [keys.idempotency, 'k1', 'idempotency/k1'],
]

test.each(rows)('%o: an id and its key tell each other', (collection, id, key) => {
  expect(keyOf(collection, id)).toBe(key)
  expect(collection.read(key.slice(collection.name.length + 1))).toEqual(id)
})

test.each([
  [keys.specs, 'web'],
  [keys.generations, 'shop/web/0'],
  [keys.generations, 'shop/web'],
  [keys.placements, 'h1/shop/web'],
  [keys.placements, 'H1/shop/web/1/1'],
  [keys.hosts, 'a/b'],
  [keys.claims, 'x/y/z'],
] as readonly [AnyCollection, string][])('%o does not know %s', (collection, text) => {
  expect(collection.read(text)).toBeUndefined()
})

test('no collection is a prefix of another, so that following one never hears of another', () => {
  const names = [...new Set(rows.map(([collection]) => `${collection.name}/`))].sort(byId)
  for (const name of names) expect(names.filter(other => other.startsWith(name))).toEqual([name])
})
