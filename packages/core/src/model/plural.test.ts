import { expect, test } from 'vitest'
import { plural, pluralVerb } from './plural.ts'

test.each([
  [0, '0 instances stop'],
  [1, '1 instance stops'],
  [2, '2 instances stop'],
])('%i with its noun and verb', (n, text) => {
  expect(`${plural(n, 'instance')} ${pluralVerb(n, 'stop')}`).toBe(text)
})

test('nouns and verbs that take more than an s', () => {
  expect(`${plural(2, 'address', 'addresses')} ${pluralVerb(2, 'are', 'is')}`).toBe('2 addresses are')
  expect(`${plural(1, 'address', 'addresses')} ${pluralVerb(1, 'are', 'is')}`).toBe('1 address is')
  expect(plural(0.5, 'core')).toBe('0.5 cores')
})
