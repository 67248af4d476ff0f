import { expect, test } from 'vitest'
import { parseDurationMs, parseMemoryMiB } from './units.ts'

test.each([
  ['256MiB', 256],
  ['1.5GiB', 1536],
  ['256m', 256],
  ['2g', 2048],
  ['1024k', 1],
  ['1KiB', 1],
  ['1TiB', 1_048_576],
  ['256Mi', { problem: "unit 'Mi' is not known; did you mean '256MiB'?" }],
  ['512MB', { problem: "unit 'MB' is not known; did you mean '512MiB'?" }],
  ['1EiB', { problem: "unit 'EiB' is not known; use KiB, MiB or GiB" }],
  ['-1m', { problem: 'must be a size such as 256MiB or 1.5GiB' }],
  ['', { problem: 'must be a size such as 256MiB or 1.5GiB' }],
])('the size %j', (text, expected) => {
  expect(parseMemoryMiB(text)).toEqual(expected)
})

const noTime = { problem: 'must be a time with a unit, such as 500ms, 2s, 5m or 1h' }
test.each([
  ['500ms', 500],
  ['2s', 2000],
  ['1.5m', 90_000],
  ['1h', 3_600_000],
  ['5', noTime],
  ['1d', noTime],
  ['-1s', noTime],
  ['1 s', noTime],
])('the time %j', (text, expected) => {
  expect(parseDurationMs(text)).toEqual(expected)
})
