/**
 * The words of HAProxy for a picture: configuration text and map files, byte for byte a function of the input. Nothing
 * of the users is in them but what `encode.ts` made of it; the rest is the text below, numbers and checked addresses.
 */
import { createHash } from 'node:crypto'
import { bucketCount } from './buckets.ts'
import type { Backend, Door, MapName, Picture, TcpFront } from './picture.ts'
import { mapNames, serverName } from './picture.ts'

export interface Rendered {
  readonly configuration: string
  /** Equal for two pictures that differ only in members and map entries: one can become the other at run time. */
  readonly structure: string
  readonly maps: Readonly<Record<MapName | 'meta', string>>
}

/** Renders a picture for a state folder; the folder's name is part of the text. */
export function render(picture: Picture, dir: string, revision: string): Rendered {
  const structure = structureOf(picture, dir)
  const meta = new Map([
    ['handover', 'off'],
    ['revision', safeRevision(revision)],
    ['structure', structure],
  ])
  const maps = {
    hosts: mapText(picture.maps.hosts),
    paths: mapText(picture.maps.paths),
    shares: mapText(picture.maps.shares),
    meta: mapText(meta),
  }
  return { configuration: configuration(picture, dir), structure, maps }
}

/** A digest of all that needs a reload to change. */
export function structureOf(picture: Picture, dir: string): string {
  const known = structures.get(picture)
  if (known?.dir === dir) return known.digest
  const bare = [...picture.backends].map(([name, backend]): [string, Backend] => [
    name,
    { ...backend, servers: backend.servers.map(() => ({ state: 'maint' })) },
  ])
  const text = configuration({ ...picture, backends: new Map(bare) }, dir)
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 32)
  structures.set(picture, { dir, digest })
  return digest
}

/** Pictures never change, and the one of the running process is compared with each new one. */
const structures = new WeakMap<Picture, { readonly dir: string; readonly digest: string }>()

export const mapPath = (dir: string, name: MapName | 'meta'): string => `${dir}/${name}.map`
export const masterSocket = (dir: string): string => `${dir}/master.sock`
export const configurationPath = (dir: string): string => `${dir}/haproxy.cfg`
/** A revision is a number in text; anything else is not repeated to the proxy. */
export const safeRevision = (revision: string): string =>
  /^[0-9]{1,40}$/.test(revision) ? revision : 'other'

export const probeHeader = 'x-boxcar-probe'
export const shareCookie = 'boxcar-share'
export const weight = 100

const mapText = (map: ReadonlyMap<string, string>) =>
  [...map].map(([key, value]) => `${key} ${value}\n`).join('')

function configuration(picture: Picture, dir: string): string {
  const parts = [preamble(picture, dir), web(picture, dir)]
  for (const front of picture.tcpFronts) parts.push(tcp(front, dir))
  parts.push(standing(dir))
  for (const [name, backend] of picture.backends) parts.push(backendText(name, backend))
  return parts.join('\n')
}

function preamble(picture: Picture, dir: string): string {
  // Checks are spread out as their number grows: about a thousand connections a second at most.
  const slots = [...picture.backends.values()].reduce((sum, backend) => sum + backend.servers.length, 0)
  const interMs = Math.min(30_000, Math.max(1_000, Math.ceil(slots / 4_000) * 1_000))
  return `global
  nbthread 2
  no strict-limits
  fd-hard-limit 100000
  hard-stop-after 1h
  # Who was replaced ends with its last connection; how many there are is up to the pace of the reloads.
  mworker-max-reloads 10000
  stats socket unix@${dir}/worker.sock mode 600 level admin expose-fd listeners

defaults
  mode http
  # Without it each reload loses requests on connections that it closes while they are being used.
  option idle-close-on-response
  option http-keep-alive
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response
  timeout connect 2s
  timeout http-request 30s
  timeout http-keep-alive 30s
  timeout client 10m
  timeout server 10m
  timeout queue 5s
  timeout tunnel 1h
  timeout client-fin 30s
  timeout server-fin 30s
  http-error status 502 content-type application/problem+json lf-string '${problem(502, 'broken_answer', 'an instance of %[var(txn.name)] broke off its answer')}'
  http-error status 503 content-type application/problem+json lf-string '${problem(503, 'no_instance', 'no instance of %[var(txn.name)] can be reached')}'
  http-error status 504 content-type application/problem+json lf-string '${problem(504, 'late_answer', 'an instance of %[var(txn.name)] did not answer in time')}'
  default-server weight ${weight} pool-purge-delay 2s check inter ${interMs}ms downinter ${interMs / 2}ms fastinter 250ms fall 2 rise 1 observe layer4 error-limit 2 on-error mark-down
`
}

/** Every HTTP port in one frontend: the rules are the same, the maps tell the ports apart. */
function web(picture: Picture, dir: string): string {
  const map = (name: MapName | 'meta') => mapPath(dir, name)
  const inside = picture.inside.length === 0 ? '' : `  acl inside dst ${picture.inside.join(' ')}\n`
  const insideRules =
    picture.inside.length === 0
      ? ''
      : `  http-request set-var-fmt(txn.door) %[so_name]i if !handed inside
  http-request return status 200 content-type text/plain lf-string "%pid" if !handed inside { req.hdr(${probeHeader}) -m found }
`
  return `frontend web
${picture.httpDoors.map(door => bind(door, `name ${door.port}`)).join('')}  bind unix@${dir}/handover.sock mode 600 name handover
  # A worker that a reload replaced passes what still arrives on its connections to the newest worker.
  acl handed so_name handover
  acl handing str(handover),map_str(${map('meta')}) on
${inside}  http-request deny deny_status 400 if { req.hdrs -m reg '[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]' }
  http-request deny deny_status 400 if { path,url_dec -m reg '[\\x00-\\x1f\\x7f]' }
  http-request deny deny_status 400 if { path -m reg -i '(^|/|\\\\|%2f|%5c)(\\.|%2e){1,2}(/|\\\\|%2f|%5c|$)' }
  http-request set-var-fmt(txn.door) %[so_name]u if !handed
${insideRules}  http-request set-var(txn.door) req.hdr(x-boxcar-door) if handed
  http-request del-header x-boxcar- -m beg
  http-request add-header X-Forwarded-For %[src] if !handed
  http-request set-header X-Forwarded-Proto http if !handed !{ req.hdr(x-forwarded-proto) -m found }
  http-request set-header X-Request-Id %[uuid] if !{ req.hdr(x-request-id) -m found }
  http-request set-header X-Boxcar-Door %[var(txn.door)] if handing
  use_backend handover if handing
  # Exact host names first, then the routes without one.
  http-request set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.),hex if !handing
  http-request set-var-fmt(txn.at) %[var(txn.door)]_%[var(txn.host)] if !handing
  http-request set-var(txn.claim) var(txn.at),map_str(${map('hosts')}) if !handing
  acl claimed var(txn.claim) -m found
  http-request set-var-fmt(txn.at) %[var(txn.door)]_ if !handing !claimed
  http-request set-var(txn.claim) var(txn.at),map_str(${map('hosts')}) if !handing !claimed
  http-request deny deny_status 400 if { var(txn.claim) -m str paths } { path -m reg -i '%2f|%5c|\\\\' }
  http-request set-var-fmt(txn.key) %[var(txn.at)]_%[path,concat(/),hex] if !handing
  http-request set-var(txn.gate) var(txn.key),map_beg(${map('paths')}) if !handing
  http-request return status 404 content-type application/problem+json string '${problem(404, 'no_route', 'no route for this host name and path on this port')}' if !handing !{ var(txn.gate) -m found }
  http-request set-var(txn.service) var(txn.gate),field(1,:)
  http-request set-var(txn.name) var(txn.service),regsub(_2f,/,g),regsub(_2d,-,g)
  http-request set-var(txn.plan) var(txn.service),map_str(${map('shares')})
  http-request return status 503 content-type application/problem+json lf-string '${problem(503, 'no_instance', 'no instance of %[var(txn.name)] is ready')}' if !handing !{ var(txn.plan) -m found }
  # A split: a returning user brings the bucket drawn first, so that a rising share only ever takes users along.
  acl split var(txn.plan) -m sub :
  acl returning req.cook(${shareCookie}) -m reg ^[0-9]{1,3}$
  http-request set-var(txn.bucket) req.cook(${shareCookie}),add(0) if split returning
  http-request set-var(txn.bucket) rand(${bucketCount}) if split !returning
  http-request set-var(txn.drawn) bool(true) if split !returning
${laneRules('http-request')}  http-request disable-l7-retry if !{ method GET HEAD OPTIONS }
  http-after-response add-header Set-Cookie "${shareCookie}=%[var(txn.bucket)]; Path=/; HttpOnly; SameSite=Lax" if { var(txn.drawn) -m found }
  use_backend %[var(txn.service)]__%[var(txn.gate),field(2,:)]__http__%[var(txn.lane)]
`
}

function tcp(front: TcpFront, dir: string): string {
  return `frontend tcp_${front.port}
  mode tcp
${front.doors.map(door => bind(door, `name ${door.port}`)).join('')}  option clitcpka
  timeout client 1h
  tcp-request content set-var(txn.plan) str(${front.service}),map_str(${mapPath(dir, 'shares')})
  tcp-request content reject if !{ var(txn.plan) -m found }
  acl split var(txn.plan) -m sub :
  tcp-request content set-var(txn.bucket) rand(${bucketCount}) if split
${laneRules('tcp-request content')}  use_backend ${front.service}__${front.gate}__tcp__%[var(txn.lane)]
`
}

/** The lane of a bucket, as `laneOf` computes it; up to eight lanes share a service's traffic. */
function laneRules(verb: string): string {
  const lines = [`  ${verb} set-var(txn.lane) var(txn.plan),field(1,:)\n`]
  for (let field = 2; field <= 14; field += 2) {
    const reached = `{ var(txn.plan),field(${field},:),sub(txn.bucket) le 0 }`
    const more = `{ var(txn.plan),field(${field + 1},:) -m len gt 0 }`
    lines.push(
      `  ${verb} set-var(txn.lane) var(txn.plan),field(${field + 1},:) if split ${more} ${reached}\n`,
    )
  }
  return lines.join('')
}

function standing(dir: string): string {
  return `backend handover
  http-reuse never
  retry-on conn-failure
  server newest unix@${dir}/handover.sock no-check
`
}

function backendText(name: string, backend: Backend): string {
  const mode =
    backend.mode === 'http'
      ? '  balance roundrobin\n'
      : '  mode tcp\n  balance leastconn\n  option srvtcpka\n  timeout server 1h\n'
  const servers = backend.servers.map((server, at) =>
    server.state === 'ready'
      ? `  server ${serverName(at)} ${host(server.address)}:${server.port}\n`
      : `  server ${serverName(at)} 127.0.0.1:1 disabled\n`,
  )
  return `backend ${name}\n${mode}${servers.join('')}`
}

const bind = (door: Door, words: string) =>
  `  bind ${host(door.address)}:${door.port} ${words}${door.address.includes(':') ? ' v6only' : ''}\n`

const host = (address: string) => (address.includes(':') ? `[${address}]` : address)

const problem = (status: number, code: string, detail: string) =>
  `{"type":"about:blank","status":${status},"code":"${code}","detail":"${detail}"}`

export const renderedMaps = [...mapNames, 'meta'] as const
