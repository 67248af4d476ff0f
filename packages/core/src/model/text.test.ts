import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cutText } from './text.ts'

const bytes = (text: string): number => new TextEncoder().encode(JSON.stringify(text)).length - 2

test('a text that fits stays as it is', () => {
  expect(cutText('short', 100)).toBe('short')
  expect(cutText('x'.repeat(100), 100)).toBe('x'.repeat(100))
})

test('one that does not loses its end', () => {
  expect(cutText('x'.repeat(101), 100)).toBe(`${'x'.repeat(97)}…`)
})

test('whatever the characters, the JSON of it has at most so many bytes, and nothing that fits is cut', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 80 }),
      fc.integer({ min: 3, max: 120 }),
      (text, most) => {
        const cut = cutText(text, most)
        expect(bytes(cut)).toBeLessThanOrEqual(most)
        if (bytes(text) <= most) expect(cut).toBe(text)
      },
    ),
  )
})
