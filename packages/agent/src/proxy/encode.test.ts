import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeName, encodeName, hexKey } from './encode.ts'

test.each([
  ['shop/web', 'shop_2fweb'],
  ['my-app', 'my_2dapp'],
  ['a_b', 'a_5fb'],
  ['Ä\n', '_c3_84_0a'],
  ['', '_'],
])('%j becomes %j', (text, name) => expect(encodeName(text)).toBe(name))

test('any text becomes a plain name and comes back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      const name = encodeName(text)
      expect(name).toMatch(/^[a-z0-9_]*$/)
      expect(name).not.toContain('__')
      expect(decodeName(name)).toBe(Buffer.from(text, 'utf8').toString('utf8'))
    }),
  )
})

test('hexadecimal keys keep prefixes', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (head, tail) => {
      expect(hexKey(head + tail).startsWith(hexKey(head))).toBe(true)
      expect(hexKey(head)).toMatch(/^([0-9A-F]{2})*$/)
    }),
  )
})
