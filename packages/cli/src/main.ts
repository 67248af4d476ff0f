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
// `run` ends once the system has all that was printed, so nothing is cut off here. What is still under way is not waited for: a stop
// of a container takes its whole grace, and an agent that is started again must not wait for that of the one before.
process.exit(await run(process.argv.slice(2), systemTerminal(process.argv.slice(2))))
