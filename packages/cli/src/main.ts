#!/usr/bin/env node
// The compile cache makes the second start quick: our own sources are not stripped of their types again. It must be on
// before anything else is loaded, hence the imports below are not at the top. It stays in the clone and goes with it; whoever
// may not write there goes without.
import { enableCompileCache } from 'node:module'

enableCompileCache(
  process.env['NODE_COMPILE_CACHE'] ??
    new URL('../../../node_modules/.cache/boxcar-compiled', import.meta.url).pathname,
)
const [{ run }, { systemTerminal }, { systemPath }] = await Promise.all([
  import('./run.ts'),
  import('./terminal.ts'),
  import('./system-path.ts'),
])
process.env['PATH'] = systemPath(process.env['PATH'])
// It ends by itself, so that nothing that was printed is cut off.
process.exitCode = await run(process.argv.slice(2), systemTerminal(process.argv.slice(2)))
// Only after an interruption is anything left unwritten: its reader is not waited for.
if (process.stdout.writableLength + process.stderr.writableLength > 0) process.exit()
