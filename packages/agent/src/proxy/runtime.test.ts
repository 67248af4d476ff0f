import { expect, test } from 'vitest'
import { parseMap, parseServers, parseSessions, parseUse, parseWorkers } from './runtime.ts'

// Texts as HAProxy 2.6.12 and 3.0.11 say them; lines that matter to nobody here are left out.

test('workers', () => {
  const text = `#<PID>          <type>          <reloads>       <uptime>        <version>
7465            master          2 [failed: 1]   0d00h01m09s     2.6.12-1+deb12u4
# workers
9052            worker          0               0d00h00m00s     2.6.12-1+deb12u4
# old workers
8069            worker          1               0d00h00m36s     2.6.12-1+deb12u4
7468            worker          2               0d00h01m36s     2.6.12-1+deb12u4
# programs
`
  expect(parseWorkers(text)).toEqual({ newest: 9052, replaced: [8069, 7468], failed: 1 })
  expect(parseWorkers('')).toEqual({ newest: undefined, replaced: [], failed: 0 })
})

test('servers', () => {
  const text = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord
3 b 1 s1 127.0.0.1 2 4 100 100 0 6 3 2 6 0 0 0 - 19001 - 0 0 - - 0
3 b 2 s2 10.0.0.2 2 12 100 100 0 6 3 2 6 0 0 0 - 80 - 0 0 - - 0
3 b 3 s3 ::1 0 5 0 100 0 6 3 2 6 0 0 0 - 1 - 0 0 - - 0
`
  const seen = parseServers(text).map(s => [s.server, s.address, s.port, s.state, s.weight, s.up])
  expect(seen).toEqual([
    ['s1', '127.0.0.1', 19001, 'ready', 100, true],
    ['s2', '10.0.0.2', 80, 'drain', 100, true],
    ['s3', '::1', 1, 'maint', 0, false],
  ])
})

test('sessions of servers', () => {
  const text = `# pxname,svname,qcur,qmax,scur,smax,addr,cookie,
b,s1,0,0,3,7,127.0.0.1:19001,,
b,s2,0,0,0,0,[::1]:3000,,

`
  expect(parseUse(text)).toEqual([
    { backend: 'b', server: 's1', address: '127.0.0.1', port: 19001, sessions: 3 },
    { backend: 'b', server: 's2', address: '::1', port: 3000, sessions: 0 },
  ])
})

test('streams', () => {
  const text = `0x55972a17edb0: proto=tcpv4 src=127.0.0.1:39758 fe=web be=b srv=s1 ts=00 epoch=0 age=2s
0x7f9ad40428e0: proto=sockpair src=unix:2 fe=GLOBAL be=<NONE> srv=<none> ts=00 epoch=0 age=0s
`
  expect(parseSessions(text)[0]).toEqual({ id: '0x55972a17edb0', server: 'b/s1' })
})

test('map entries', () => {
  expect(parseMap('0x563b104ad6f0 svc 1:100:0:1000\n0x7f32ec04f1d0 a b\n\n')).toEqual(
    new Map([
      ['svc', '1:100:0:1000'],
      ['a', 'b'],
    ]),
  )
})
