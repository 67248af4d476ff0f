import { expect, test } from 'vitest'
import {
  type GenerationNumber,
  instanceId,
  parseInstanceId,
  parseServiceName,
  placeOf,
  serviceName,
  serviceParts,
} from './ids.ts'

test('an instance is named by its place, and its name tells the place', () => {
  const place = { service: serviceName('shop', 'web'), generation: 7 as GenerationNumber, slot: 2 }
  expect(instanceId(place)).toBe('shop/web/7/2')
  expect(placeOf(instanceId(place))).toEqual(place)
  expect(serviceParts(place.service)).toEqual({ project: 'shop', short: 'web' })
})

test.each([
  '',
  'shop',
  'shop/web',
  'shop/web/0/0',
  'shop/web/1/-1',
  'shop/web/01/1',
  'Shop/web/1/1',
  'shop/web/1/1/1',
  '../web/1/1',
  'a\n/web/1/1',
])('%j names no instance', text => {
  expect(parseInstanceId(text)).toBeUndefined()
})

test.each(['', 'shop', 'shop/', '/web', 'shop/web/x', 'shop/we_b', 'shop/-web', `shop/${'a'.repeat(41)}`])(
  '%j names no service',
  text => {
    expect(parseServiceName(text)).toBeUndefined()
  },
)
