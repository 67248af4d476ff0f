#!/usr/bin/env node
/**
 * `npm test`: prepares this computer, then types, lint, unit, contract, end-to-end and outage tests, and a look at what they
 * left behind. Of the others, none runs after one that failed. `npm test -- --only e2e` runs one step; other arguments choose
 * test files by a part of their path. The last line counts the tests: `N passed, M failed`.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { prepare } from './prepare.mjs'
import { environment, isRoot, main, node, Refusal, root, statusOf } from './workspace.mjs'

const vitest = project => ({
  name: project,
  tests: true,
  command: (report, filters) => [
    join(root, 'node_modules/.bin/vitest'),
    ...['run', '--project', project, '--passWithNoTests'],
    ...['--reporter', 'default', '--reporter', 'json', `--outputFile.json=${report}`, ...filters],
  ],
})

const residueCheck = [node, join(root, 'test/lab/residue-check.ts')]

const steps = [
  {
    name: 'types',
    tests: false,
    command: () => [join(root, 'node_modules/.bin/tsc'), '--noEmit', '-p', 'tsconfig.json'],
  },
  { name: 'lint', tests: false, command: () => [join(root, 'node_modules/.bin/biome'), 'check', '.'] },
  vitest('unit'),
  vitest('contract'),
  vitest('e2e'),
  vitest('outages'),
  { name: 'residue', tests: false, command: report => [...residueCheck, '--since', report] },
]

let running

/** On Ctrl-C, which the terminal sends to all of them, the child cleans up and ends first. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => running?.kill(signal))

await main(async () => {
  const chosen = choose(process.argv.slice(2))
  prepare()
  const folder = mkdtempSync(join(tmpdir(), 'boxcar-test-'))
  const done = []
  const reportOf = step => join(folder, `${step.name}.json`)
  try {
    const residue = chosen.steps.find(step => step.name === 'residue')
    // What cannot be taken away of an earlier run is no fault of this one.
    if (residue !== undefined) await run([...residueCheck, '--note', reportOf(residue)])
    for (const step of chosen.steps) {
      // Also a test that failed, or was interrupted, leaves nothing behind.
      if (done.some(it => it.status !== 0) && step.name !== 'residue') continue
      done.push(await runStep(step, chosen.filters, reportOf(step)))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return summarise(done)
})

function choose(args) {
  const { values, positionals } = parseArgs({
    args,
    options: { only: { type: 'string', multiple: true } },
    allowPositionals: true,
  })
  const unknown = (values.only ?? []).find(name => steps.every(step => step.name !== name))
  if (unknown !== undefined) {
    throw new Refusal(
      `There is no step "${unknown}".\nNext: --only ${steps.map(step => step.name).join(' | ')}`,
    )
  }
  // Who names test files wants those, not the rest.
  const wanted = step => values.only?.includes(step.name) ?? (positionals.length === 0 || step.tests)
  return { steps: steps.filter(wanted), filters: positionals }
}

async function runStep(step, filters, report) {
  process.stdout.write(`\n== ${step.name}\n`)
  const started = performance.now()
  const status = await run(step.command(report, filters))
  const seconds = (performance.now() - started) / 1000
  process.stdout.write(
    `== ${step.name}: ${status === 0 ? 'good' : `failed, status ${status}`}, ${seconds.toFixed(1)} s\n`,
  )
  return { name: step.name, status, seconds, ...count(step, status, report) }
}

function run([program, ...args]) {
  return new Promise((resolve, reject) => {
    running = spawn(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: environment() })
    running.on('error', reject)
    running.on('exit', (code, signal) => resolve(statusOf(code, signal)))
  })
}

/** What fails without a failed test (types, a file that cannot be loaded, a crash) counts as one. */
function count(step, status, report) {
  const counted = step.tests ? read(report) : { passed: 0, failed: 0, skipped: 0 }
  return status !== 0 && counted.failed === 0 ? { ...counted, failed: 1 } : counted
}

function read(report) {
  try {
    const it = JSON.parse(readFileSync(report, 'utf8'))
    return {
      passed: it.numPassedTests ?? 0,
      failed: it.numFailedTests ?? 0,
      skipped: (it.numPendingTests ?? 0) + (it.numTodoTests ?? 0),
    }
  } catch {
    return { passed: 0, failed: 0, skipped: 0 }
  }
}

function summarise(done) {
  const sum = key => done.reduce((total, step) => total + step[key], 0)
  const times = done.map(step => `${step.name} ${step.seconds.toFixed(1)} s`).join(', ')
  process.stdout.write(`\n${times}; ${(sum('seconds') / 60).toFixed(1)} minutes in all\n`)
  if (sum('skipped') > 0) {
    const why = isRoot() ? '' : ': hosts in namespaces and engines of their own need root'
    process.stdout.write(`${sum('skipped')} skipped${why}\n`)
  }
  process.stdout.write(`${sum('passed')} passed, ${sum('failed')} failed\n`)
  return done.every(step => step.status === 0) ? 0 : 1
}
