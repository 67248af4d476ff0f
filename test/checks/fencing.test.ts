import type { ServiceName } from '@boxcar/core/model/ids'
import { leaders, rollouts } from '@boxcar/store/keys'
import type { Change, Revision } from '@boxcar/store/store'
import { expect, test } from 'vitest'
import { checkFencing } from './fencing.ts'

const leader = (created: string): Change => ({
  kind: 'put',
  collection: leaders,
  entry: {
    id: 'self',
    value: {},
    created: created as Revision,
    modified: created as Revision,
    lease: undefined,
  },
})
const gone = (revision: string): Change => ({
  kind: 'removed',
  collection: leaders,
  id: 'self',
  revision: revision as Revision,
})
const write = (revision: string, term: string): Change => ({
  kind: 'put',
  collection: rollouts,
  entry: {
    id: 'shop/web' as ServiceName,
    value: { term },
    created: '5' as Revision,
    modified: revision as Revision,
    lease: undefined,
  },
})

test('writes under the leading term are fine', () => {
  const report = checkFencing([leader('10'), write('11', '10'), gone('12'), leader('13'), write('14', '13')])
  expect(report).toMatchObject({ violations: [], terms: ['10', '13'] })
  expect(report.writes).toHaveLength(2)
})

test.each([
  ['a write of a deposed leader', [leader('10'), gone('12'), leader('13'), write('14', '10')], 'S1'],
  ['a write while nobody leads', [leader('10'), gone('12'), write('13', '10')], 'S1'],
  ['a term that goes back', [leader('10'), leader('13'), write('14', '13'), write('15', '10')], 'S2'],
])('%s is found', (_, history, rule) => {
  expect(checkFencing(history).violations.some(v => v.startsWith(rule))).toBe(true)
})
