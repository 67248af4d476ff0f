/** Hosts of their own are namespaces with engines in them, and those need root: without it such tests are skipped. */
import { test as anyTest } from 'vitest'

export const isRoot = process.getuid?.() === 0

/** In place of vitest's own where a test cannot do without root. */
export const test = anyTest.skipIf(!isRoot)
