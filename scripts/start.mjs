#!/usr/bin/env node
/** `npm start`: prepares this computer, then runs `boxcar dev` with the same arguments until it ends. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { prepare } from './prepare.mjs'
import { environment, find, main, node, root, statusOf } from './workspace.mjs'

await main(() => {
  prepare()
  return dev(process.argv.slice(2))
})

function dev(args) {
  const argv = [node, join(root, 'packages/cli/src/main.ts'), 'dev', ...args]
  // Should this script be killed, dev still gets to take its hosts away.
  if (process.platform === 'linux' && find('setpriv') !== undefined)
    argv.unshift('setpriv', '--pdeathsig', 'TERM', '--')
  const [program, ...rest] = argv
  // In a session of its own: Ctrl-C comes from the terminal to this script, and from npm a second time; dev gets one.
  const child = spawn(program, rest, { stdio: 'inherit', env: environment(), detached: true })
  let passedOnAt = Number.NEGATIVE_INFINITY
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      const now = performance.now()
      if (now - passedOnAt < 500) return
      passedOnAt = now
      child.kill(signal)
    })
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(statusOf(code, signal)))
  })
}
