/** Where things are in this workspace. Plain JavaScript on Node 20: nothing is installed yet when it runs. */
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const programs = join(root, 'node_modules', '.bin')

/** The workspace's own Node, 24 or newer, once the packages are there. */
export const node = join(programs, 'node')

/** The PATH, and behind it root's programs: HAProxy is one on Debian, and a plain user's PATH lacks their folders. */
const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']

/** An environment in which every `node` is the workspace's own, and every program that `find` finds can be run. */
export const environment = () => ({ ...process.env, PATH: [programs, ...folders].join(delimiter) })

/** Where a program is; undefined when it is not there. */
export function find(program) {
  return folders.map(folder => join(folder, program)).find(path => existsSync(path))
}

/** The exit status that says how a child ended, as a shell would. */
export const statusOf = (code, signal) => code ?? 128 + (constants.signals[signal] ?? 0)

export const isRoot = () => process.getuid?.() === 0

/** Ends the program with a sentence and what to do next, and no stack. */
export class Refusal extends Error {}

/** Runs a script's main function; a refusal becomes its message and status 1. */
export async function main(act) {
  try {
    process.exitCode = await act()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    process.stderr.write(`\n${error.message}\n`)
    process.exitCode = 1
  }
}
