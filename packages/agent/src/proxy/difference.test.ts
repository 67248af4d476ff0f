import type { GenerationNumber, InstanceId, ServiceName } from '@boxcar/core/model/ids'
import type { Route } from '@boxcar/core/model/route'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { difference } from './difference.ts'
import { draw, type MapName, mapNames } from './picture.ts'
import { mapPath } from './render.ts'
import { arrange } from './slots.ts'

const dir = '/d'
const services = ['a', 'b', 'c']
const hostnames = ['', 'x', 'y']
const paths = ['/', '/p', '/p/q']

const nobody = Array<string | undefined>(9).fill(undefined)

test('at no moment of a change does a request find what neither table says', () => {
  fc.assert(
    fc.property(owners(), owners(), (before, after) => {
      // Everybody has room, so that commands lead from one to the other.
      const layout = arrange(new Map(), routesOf(hostnames.flatMap(() => services)), 'fit')
      const [from, to] = [before, after].map(
        owned => draw({ routes: routesOf(owned), layout, addresses, blocked: [] }).picture,
      )
      if (from === undefined || to === undefined) throw new Error('two pictures')
      const change = difference(from, to, dir)
      if (change.kind === 'reload') throw new Error('no reload')
      const told = copied(from.maps)
      for (const command of change.maps) {
        tell(told, command)
        for (const hostname of hostnames) {
          for (const path of paths) {
            const answers = [from.maps, to.maps].map(maps => lookup(maps, hostname, path))
            const found = lookup(told, hostname, path)
            if (!answers.includes(found))
              throw new Error(`${hostname}${path} finds ${found} after ${command}`)
          }
        }
      }
      expect(told).toEqual(copied(to.maps))
    }),
    {
      // A name that is new, or goes, while others take or leave what nobody claims.
      examples: [
        [nobody, [...nobody.slice(6), ...nobody.slice(6), 'a', undefined, 'c']],
        [[...nobody.slice(6), ...nobody.slice(6), 'a', undefined, 'c'], nobody],
      ],
    },
  )
})

const addresses = { public: ['127.0.0.1'], private: ['127.0.0.1'] }

/** Who owns each pair of host name and path, if anybody. */
const owners = () =>
  fc.array(fc.option(fc.constantFrom(...services), { nil: undefined }), {
    minLength: hostnames.length * paths.length,
    maxLength: hostnames.length * paths.length,
  })

/** One more service holds the port, so that it stays open. */
function routesOf(owned: readonly (string | undefined)[]): ReadonlyMap<ServiceName, Route> {
  const addressesOf = (service: string) =>
    owned.flatMap((owner, at) =>
      owner === service
        ? [
            {
              hostname: hostnames[at % hostnames.length] ?? '',
              path: paths[Math.floor(at / hostnames.length)] ?? '/',
            },
          ]
        : [],
    )
  const all = [
    { service: 'z', at: [{ hostname: 'z', path: '/' }] },
    ...services.map(service => ({ service, at: addressesOf(service) })),
  ]
  return new Map(
    all.flatMap(({ service, at }): [ServiceName, Route][] => {
      const name = service as ServiceName
      const listeners = at.map(({ hostname, path }) => ({
        protocol: 'http' as const,
        listen: 80,
        hostnames: hostname === '' ? [] : [hostname],
        path,
        expose: 'public' as const,
        port: 'main',
      }))
      const endpoints = [
        { instance: `${service}/1/0` as InstanceId, address: '127.0.0.1', ports: { main: 9 } },
      ]
      const backings = [{ generation: 1 as GenerationNumber, share: 1000, endpoints }]
      return at.length === 0
        ? []
        : [[name, { service: name, uid: 'u', term: '1', drainMs: 0, listeners, backings }]]
    }),
  )
}

type Maps = Record<MapName, Map<string, string>>

const copied = (maps: Readonly<Record<MapName, ReadonlyMap<string, string>>>): Maps => ({
  hosts: new Map(maps.hosts),
  paths: new Map(maps.paths),
  shares: new Map(maps.shares),
})

function tell(maps: Maps, command: string): void {
  const [verb, , path, key = '', value = ''] = command.split(' ')
  const name = mapNames.find(one => mapPath(dir, one) === path)
  if (name === undefined) throw new Error(command)
  if (verb === 'del') maps[name].delete(key)
  else maps[name].set(key, value)
}

/** Who gets a request, as the rules of `render.ts` look it up. */
function lookup(
  maps: Readonly<Record<MapName, ReadonlyMap<string, string>>>,
  hostname: string,
  path: string,
): string {
  const hex = (text: string) => Buffer.from(text).toString('hex').toUpperCase()
  const claimed = maps.hosts.has(`80u_${hex(hostname)}`)
  const asked = `80u_${claimed ? hex(hostname) : ''}_${hex(path === '/' ? path : `${path}/`)}`
  const [found] = [...maps.paths.keys()]
    .filter(key => asked.startsWith(key))
    .toSorted((a, b) => b.length - a.length)
  if (found === undefined) return 'no route'
  const service = maps.paths.get(found)?.split(':')[0] ?? ''
  return maps.shares.has(service) ? service : `${service} has no instance`
}
