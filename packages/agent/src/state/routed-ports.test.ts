import type { ServiceName } from '@boxcar/core/model/ids'
import { routes } from '@boxcar/store/keys'
import { silent } from '@boxcar/store/log'
import { VirtualClock } from '@boxcar/store/memory/virtual-clock'
import type { Change, Revision } from '@boxcar/store/store'
import { expect, test } from 'vitest'
import { InternalErrors } from '../internal-errors.ts'
import { type Files, memoryFolder } from './files.ts'
import { RoutedPorts } from './routed-ports.ts'
import { SavedState } from './saved-state.ts'

const revision = '9' as Revision
const [web, api] = ['shop/web' as ServiceName, 'shop/api' as ServiceName]
const routed = (service: ServiceName, port: string): Change => ({
  kind: 'put',
  collection: routes,
  entry: {
    id: service,
    value: {
      service,
      uid: 'u',
      term: '1',
      listeners: [{ protocol: 'tcp', listen: 8000, hostnames: [], path: '/', expose: 'private', port }],
      backings: [],
      drainMs: 0,
    },
    created: revision,
    modified: revision,
    lease: undefined,
  },
})
const gone = (id: ServiceName): Change => ({ kind: 'removed', collection: routes, id, revision })

const stateIn = (files: Files) => new SavedState({ files, clock: new VirtualClock(), log: silent })
const errors = new InternalErrors({ log: silent, tell: () => {} })

test('routed ports are known as they were heard, also after a restart', async () => {
  const files = memoryFolder()
  const ports = new RoutedPorts(stateIn(files), errors)
  await ports.load()
  expect(ports.isKnown).toBe(false)
  ports.take({
    kind: 'snapshot',
    revision,
    entries: [routed(web, 'http'), routed(api, 'grpc')],
    unreadable: [],
  })
  ports.take({ kind: 'changes', revision, changes: [routed(web, 'admin'), gone(api)], unreadable: [] })
  const next = new RoutedPorts(stateIn(files), errors)
  await next.load()
  expect(next.isKnown).toBe(true)
  expect([next.of(web), next.of(api)]).toEqual(['admin', undefined])
})

test('a route that cannot be read leads where it led before', () => {
  const ports = new RoutedPorts(stateIn(memoryFolder()), errors)
  const unreadable = [{ collection: 'routes', key: `routes/${web}`, reason: 'of a newer version' }]
  ports.take({ kind: 'snapshot', revision, entries: [routed(web, 'http')], unreadable: [] })
  ports.take({ kind: 'changes', revision, changes: [gone(web)], unreadable })
  expect(ports.of(web)).toBe('http')
  ports.take({ kind: 'snapshot', revision, entries: [], unreadable })
  expect(ports.of(web)).toBe('http')
  ports.take({ kind: 'snapshot', revision, entries: [], unreadable: [] })
  expect(ports.of(web)).toBeUndefined()
})
