import type { HostId, ServiceName } from '@boxcar/core/model/ids'
import type { Phase } from '@boxcar/core/model/rollout'
import type { Unserved } from '@boxcar/core/model/unserved'
import type { AnyCollection } from '@boxcar/store/collection'
import { rollouts, routeAcks, routes } from '@boxcar/store/keys'
import type { Change, Revision } from '@boxcar/store/store'
import { expect, test } from 'vitest'
import { type Call, checkAcknowledgedIsServed, type Shown } from './acknowledged-is-served.ts'

const web = 'shop/web'
const held: Unserved = { listen: 80, reason: 'held', holder: 'process 812 (sshd)' }
const limits = { slackMs: 100, noticeMs: 5000 }

/** Its revision is its time. */
const put = (at: number, collection: AnyCollection, id: string, value: unknown) => {
  const revision = String(at) as Revision
  const entry = { id, value, created: revision, modified: revision, lease: undefined }
  return { at, change: { kind: 'put', collection, entry } as Change }
}
const route = (at: number, listen = 80) =>
  put(at, routes, web as ServiceName, {
    service: web,
    uid: 'u',
    term: '1',
    listeners: [{ protocol: 'http', listen, hostnames: [], path: '/', expose: 'public', port: 'http' }],
    backings: [
      {
        generation: 1,
        share: 1000,
        endpoints: [{ instance: 'shop/web/1/0', address: '10.0.0.1', ports: { http: 20_000 } }],
      },
    ],
    drainMs: 1,
  })
const ack = (at: number, host: string, unserved?: readonly Unserved[], revision = String(at)) =>
  put(at, routeAcks, host as HostId, { revision, draining: [], ...(unserved && { unserved }) })
const phase = (at: number, now: object) =>
  put(at, rollouts, web as ServiceName, {
    service: web,
    uid: 'u',
    term: '1',
    asked: 1,
    now: now as Phase,
    images: {},
    rejections: [],
    since: 0,
  })
const draining = { phase: 'draining', live: 1, undo: false }
const settled = { phase: 'settled', live: 1 }

const call = (at: number, answer: string, host = 'h1'): Call => ({
  at,
  host,
  service: web,
  listen: 80,
  answer,
})
const shown = (at: number, saysServed: boolean): Shown => ({ at, service: web, screen: 'status', saysServed })

const check = (
  changes: readonly { at: number; change: Change }[],
  calls: readonly Call[] = [],
  screens: readonly Shown[] = [],
) => checkAcknowledgedIsServed({ changes, calls, shown: screens }, limits)

test('what is acknowledged and answered, named, noticed soon, or not promised is fine', () => {
  const changes = [
    route(10),
    phase(11, draining),
    ack(20, 'h1'),
    ack(21, 'h2'),
    phase(30, settled),
    ack(3000, 'h2', [held]),
    phase(9000, { ...draining, undo: true }),
    phase(9001, settled),
  ]
  const calls = [
    call(5, 'refused'),
    call(200, 'application'),
    call(1000, 'another', 'h2'),
    call(4000, 'another', 'h2'),
    call(4000, 'refused', 'h3'),
    // Freed a moment ago, and not looked at since.
    call(3050, 'refused', 'h2'),
  ]
  const report = check(changes, calls, [shown(2000, true), shown(4000, false)])
  expect(report).toEqual({ violations: [], checked: { calls: 3, named: 1, settled: 1, shown: 2 } })
})

const moving = { phase: 'draining', live: 2, old: 1, undo: false }
const resolving = { phase: 'resolving', stable: 1, next: 2 }
test('a port that the route has just left is no longer promised, and one that it has kept is', () => {
  const moved = [route(10), ack(20, 'h1'), route(1000, 81), ack(1010, 'h1')]
  expect(check(moved, [call(1050, 'ECONNREFUSED')]).violations).toEqual([])
  expect(check(moved, [call(800, 'ECONNREFUSED')]).violations).toHaveLength(1)
})

test('a generation may settle where the one before was not served either', () => {
  const before = [route(10), phase(11, draining), ack(20, 'h1'), phase(30, settled), ack(40, 'h2', [held])]
  const changes = [...before, phase(50, resolving), phase(60, moving), ack(65, 'h3', [held])]
  const settling = phase(70, { phase: 'settled', live: 2, warm: 1 })
  expect(check([...changes, settling]).violations).toEqual([])
  const taken = check([...changes, ack(66, 'h1', [held]), settling]).violations
  expect(taken).toEqual(['T8: shop/web settled at 70 ms while h1 could not serve port 80'])
  const added = check([
    phase(50, resolving),
    ...before.slice(0, 1),
    ack(55, 'h2', [held]),
    phase(60, moving),
    settling,
  ])
  expect(added.violations).toEqual(['T8: shop/web settled at 70 ms while h2 could not serve port 80'])
})

const served = [route(10), phase(11, draining), ack(20, 'h1')]
test.each<[string, ReturnType<typeof check>, RegExp]>([
  [
    'an acknowledged listener that somebody else answers at',
    check(served, [call(200, 'another')]),
    /h1 acknowledged port 80 of shop\/web, and at 200 ms it answered: another/,
  ],
  [
    'one that was noticed too late',
    check([...served, ack(9000, 'h1', [held])], [call(200, 'refused')]),
    /answered: refused/,
  ],
  [
    'a held port without its holder',
    check([route(10), ack(20, 'h1', [{ listen: 80, reason: 'held' }])], [call(200, 'another')]),
    /names port 80 without who holds it/,
  ],
  [
    'a rollout that settled while a host could not serve',
    check([...served, ack(21, 'h2', [held]), phase(30, settled)]),
    /settled at 30 ms while h2 could not serve port 80/,
  ],
  [
    'a rollout that settled before a host had applied the route',
    check([...served, ack(21, 'h2', undefined, '9'), phase(30, settled)]),
    /settled at 30 ms while h2 had not applied its route/,
  ],
  [
    'a screen that says that all is served',
    check([...served, ack(21, 'h2', [held])], [], [shown(2000, true)]),
    /status said at 2000 ms that shop\/web is served while h2 could not serve port 80/,
  ],
])('%s is found', (_, report, violation) => {
  expect(report.violations).toHaveLength(1)
  expect(report.violations[0]).toMatch(violation)
})
