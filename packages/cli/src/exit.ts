/** How a command ends: a status that scripts can tell apart, and three lines for people when it did not do what was asked. */
export const exitStatus = {
  /** Done and healthy. */
  done: 0,
  failure: 1,
  usage: 2,
  /** Accepted, but some instances cannot be placed, or stand where they could not be placed now, or some hosts do not serve a route. */
  notPlaced: 3,
  /** The rollout was reverted or aborted. */
  reverted: 4,
  /** The plan or the revision is stale, or an address is taken. */
  conflict: 5,
  notAuthorised: 6,
  unreachable: 7,
  /** Only `plan --exit-code`. */
  changesPending: 8,
  waitsForPerson: 9,
  /** `--timeout` is over; work on the cluster goes on. */
  timeout: 124,
  /** Ctrl-C; work on the cluster goes on. */
  interrupted: 130,
  /** Whoever read the output closed it before its end, as `head` does; what was asked for before that is done. */
  readerGone: 141,
} as const

export type ExitStatus = (typeof exitStatus)[keyof typeof exitStatus]

/** Why a command could not do what was asked: printed as it is, never cut. */
export interface TroubleText {
  readonly status: ExitStatus
  /** What failed, in one sentence without a full stop. */
  readonly what: string
  /** Why; more than one line where there is more than one reason. */
  readonly why: string
  /** What to run or to do next. */
  readonly next: string
}

/** Ends a command from wherever it is; caught once, in run.ts. */
export class Trouble extends Error {
  override readonly name = 'Trouble'
  readonly text: TroubleText

  constructor(text: TroubleText) {
    super(`${text.what}: ${text.why}`)
    this.text = text
  }
}

/** The three lines. Further lines of a reason stand below the first, so that none is lost. */
export function troubleLines(text: TroubleText): readonly string[] {
  return [
    ...block('Error: ', text.what),
    ...block('  Why: ', text.why),
    ...(text.next === '' ? [] : block(' Next: ', text.next)),
  ]
}

function block(head: string, text: string): readonly string[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line, i) => (i === 0 ? head : ' '.repeat(head.length)) + line)
}
