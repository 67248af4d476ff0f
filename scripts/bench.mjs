#!/usr/bin/env node
/** `npm run bench`: prepares this computer, then runs test/bench/*.bench.ts one by one; arguments choose by name. */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { prepare } from './prepare.mjs'
import { environment, main, node, Refusal, root, statusOf } from './workspace.mjs'

const folder = join(root, 'test/bench')
const ending = '.bench.ts'

await main(() => {
  const filters = process.argv.slice(2)
  const all = readdirSync(folder).filter(file => file.endsWith(ending))
  const chosen = all.filter(file => filters.length === 0 || filters.some(part => file.includes(part))).sort()
  if (chosen.length === 0) {
    const names = all.map(file => file.slice(0, -ending.length)).join(', ')
    throw new Refusal(`No benchmark of that name.\nNext: choose of: ${names || '(there is none yet)'}`)
  }
  prepare()
  let worst = 0
  for (const file of chosen) {
    process.stdout.write(`\n== ${file.slice(0, -ending.length)}\n`)
    const run = spawnSync(node, [join(folder, file)], { cwd: root, stdio: 'inherit', env: environment() })
    worst = Math.max(worst, statusOf(run.status, run.signal))
  }
  return worst
})
