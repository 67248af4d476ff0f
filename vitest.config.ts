import { defineConfig } from 'vitest/config'

/** Mostly waits for a minute without the store: run beside each other, unlike what measures times. */
const outages = ['test/e2e/store-*.test.ts']

/** Projects, so that quick and slow tests can be run apart: `npx vitest run --project unit`. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'test/checks/**/*.test.ts', 'test/docs/**/*.test.ts'],
          // Most of the time of a test file is loading the rooms that it tests: they are loaded once for all.
          isolate: false,
          // Unless told, one core is left idle, which is half of a machine with two.
          maxWorkers: '100%',
          // Days under a virtual clock are seconds of work, and more of them on a busy machine.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'contract',
          include: ['test/contract/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: outages,
          testTimeout: 240_000,
          hookTimeout: 240_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'outages',
          include: outages,
          testTimeout: 240_000,
          hookTimeout: 240_000,
          maxWorkers: 2,
        },
      },
    ],
  },
})
