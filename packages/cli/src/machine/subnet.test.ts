import { expect, test } from 'vitest'
import { overlaps, parseRoutes } from './subnet.ts'

const routes = `default via 192.0.2.1 dev eth0
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2
10.77.4.0/22 via 192.0.2.9 dev eth0
172.16.0.0/12 dev tun0 scope link
local 10.78.3.7 dev eth0 table local proto kernel scope host src 10.78.3.7
broadcast 192.0.2.255 dev eth0 table local proto kernel scope link src 192.0.2.2
`

test.each([
  ['10.77.3', false],
  ['10.77.4', true],
  ['10.77.7', true],
  ['10.77.8', false],
  ['10.78.3', true],
  ['172.30.1', true],
  ['198.18.0', false],
])('%s.0/24 is taken: %s', (subnet, taken) => {
  expect(parseRoutes(routes).some(route => overlaps(route, subnet))).toBe(taken)
})

test('a default route takes nothing', () => {
  expect(parseRoutes('default via 192.0.2.1 dev eth0\n0.0.0.0/0 dev tun0\n')).toEqual([])
})
