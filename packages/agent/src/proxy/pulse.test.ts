import { expect, test } from 'vitest'
import { type Ask, judge } from './pulse.ts'

const still = { pid: 7, runnable: false, ticks: 40 }
const silent = (limitMs: number, vitals: typeof still | undefined = still, tookMs = limitMs): Ask => ({
  limitMs,
  tookMs,
  silence: { why: 'no answer in time', vitals },
})
const answered: Ask = { limitMs: 700, tookMs: 3, silence: undefined }
const hangs = { kind: 'hangs', why: 'no answer in time' }
const ask = (limitMs: number) => ({ kind: 'ask', limitMs })

test.each<[string, Ask[], object]>([
  ['is asked', [], ask(700)],
  ['answers', [answered], { kind: 'beats' }],
  ['is silent once', [silent(700)], ask(1_500)],
  ['is silent once and answers', [silent(700), answered], { kind: 'beats' }],
  ['is silent twice and stands still', [silent(700), silent(1_500)], hangs],
  ['used the processor', [silent(700), silent(1_500, { ...still, ticks: 41 })], ask(2_000)],
  ['waits for its turn', [silent(700), silent(1_500, { ...still, runnable: true })], ask(2_000)],
  ['waited for its turn', [silent(700, { ...still, runnable: true }), silent(1_500)], ask(2_000)],
  ['is another one', [silent(700), silent(1_500, { ...still, pid: 8 })], ask(2_000)],
  ['is busy three times', [700, 1_500, 2_000].map((ms, n) => silent(ms, { ...still, ticks: n })), hangs],
  ['was asked by one that came late', [silent(700, still, 2_500)], ask(700)],
  ['stands still, asked late', [silent(700), silent(1_500, still, 3_500)], ask(700)],
  ['is silent after a late ask', [silent(700, still, 2_500), silent(700)], ask(1_500)],
  ['is silent whenever asked late', Array<Ask>(8).fill(silent(700, still, 2_500)), hangs],
])('a process that %s', (_, asks, pulse) => expect(judge(asks)).toEqual(pulse))
