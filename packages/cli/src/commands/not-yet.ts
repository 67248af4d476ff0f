import type { RunCommand } from '../command.ts'
import { exitStatus, Trouble } from '../exit.ts'

/** Something that is to come: refused by name, never ignored. */
export const notYetTrouble = (what: string, next = 'boxcar --help lists what there is'): Trouble =>
  new Trouble({
    status: exitStatus.failure,
    what: `${what} is not supported yet`,
    why: 'it comes with a later version',
    next,
  })

export const notYet: RunCommand = async ({ invocation }) => {
  throw notYetTrouble(`boxcar ${invocation.command}`)
}

/** Steps with a person in between. */
export const notYetInRollout: RunCommand = async ({ invocation }) => {
  throw notYetTrouble(
    `boxcar ${invocation.command}`,
    'a rollout goes from ready to live by itself; boxcar rollout abort SERVICE gives it up, boxcar undo SERVICE goes back',
  )
}
