import { expect, test } from 'vitest'
import { registryVerdict } from './registry-says.ts'

test.each([
  ['manifest for 127.0.0.1:5000/bb:2 not found: manifest unknown: manifest unknown', 'not-found'],
  ['manifest unknown: manifest unknown', 'not-found'],
  ['name unknown: repository name not known to registry', 'not-found'],
  ['no matching manifest for linux/arm64/v8 in the manifest list entries', 'not-found'],
  ['failed to resolve reference "127.0.0.1:5000/x:1": 127.0.0.1:5000/x:1: not found: ', 'not-found'],
  ["pull access denied for x, repository does not exist or may require 'docker login'", 'denied'],
  ['unauthorized: authentication required', 'denied'],
  ['errors:\ndenied: requested access to the resource is denied', 'denied'],
  ['invalid reference format', 'invalid'],
  ['Get "http://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused', 'away'],
  ['Get "https://registry.invalid/v2/": dial tcp: lookup registry.invalid: no such host', 'away'],
  [
    'net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)',
    'away',
  ],
  ['toomanyrequests: You have reached your pull rate limit', 'away'],
  ['received unexpected HTTP status: 503 Service Unavailable', 'away'],
  ['something nobody has seen before', 'away'],
])('%s', (reason, verdict) => {
  expect(registryVerdict(reason)).toBe(verdict)
})
