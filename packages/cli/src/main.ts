#!/usr/bin/env node
// The compile cache makes the second start quick: our own sources are not stripped of their types again. It must be on
// before anything else is loaded, hence the imports below are not at the top.
import { enableCompileCache } from 'node:module'

enableCompileCache()
const [{ run }, { systemTerminal }] = await Promise.all([import('./run.ts'), import('./terminal.ts')])
process.exit(await run(process.argv.slice(2), systemTerminal()))
