import { serviceSpecAsSent } from '@boxcar/core/model/spec'
import { describe, expect, test } from 'vitest'
import { textFields } from './text-fields.ts'

const takesText = textFields(serviceSpecAsSent)

describe('where a spec takes text', () => {
  test.each([
    'name',
    'image',
    'user',
    'command.0',
    'entrypoint.3',
    'env.ANY',
    'labels.any/label',
    'extraHosts.db',
    'tmpfs.0',
    'stop.grace',
    'resources.limits.memory',
    'health.readiness.http',
    'health.readiness.headers.X-Any',
    'health.liveness.exec.1',
    'ports.0.name',
    'routes.0.hostnames.0',
    'routes.0.path',
    'placement.where.0',
  ])('%s', path => expect(takesText(path.split('.'))).toBe(true))

  test.each([
    '',
    'replicas',
    'env',
    'command',
    'init',
    'resources.limits.cpus',
    'ports.0.container',
    'routes.0.listen',
    'health.readiness.tcp',
    'health.readiness.status.0',
    'ulimits.nofile.soft',
    'keepGenerations',
    'volumes',
    'nothing.of.this.name',
    'env.ANY.deeper',
    'constructor',
  ])('not %j', path => expect(takesText(path.split('.'))).toBe(false))
})
