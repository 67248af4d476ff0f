import { describe, expect, test } from 'vitest'
import { instanceState } from '../model/report.ts'
import { mayDesire, mayMove, observedMoves } from './lifecycle.ts'

describe('the lifecycle of an instance', () => {
  test('knows every state', () => {
    expect(Object.keys(observedMoves).sort()).toEqual(['new', ...instanceState.options].sort())
  })

  test.each(['ready', 'unready'] as const)(
    'what is stopped or being stopped is never %s again without a start',
    state => {
      expect(mayMove('stopping', state)).toBe(false)
      expect(mayMove('stopped', state)).toBe(false)
    },
  )

  test('every state can be stopped and stays stopped', () => {
    for (const state of instanceState.options) {
      expect(mayMove(state, 'stopped')).toBe(true)
      expect(mayMove(state, state)).toBe(true)
    }
  })

  test.each([
    ['none', 'run', true],
    ['none', 'stop', false],
    ['run', 'stop', true],
    ['run', 'none', true],
    ['stop', 'run', true],
    ['stop', 'none', true],
  ] as const)('the leader moves %s to %s: %s', (from, to, may) => {
    expect(mayDesire(from, to)).toBe(may)
  })
})
