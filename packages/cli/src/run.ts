import type { CommandContext } from './command.ts'
import { type Verb, verbFirst, verbOf } from './command-line.ts'
import { type ExitStatus, exitStatus, Trouble, type TroubleText, troubleLines } from './exit.ts'
import type { OutputEnd } from './output.ts'
import { buildProgram, CommanderError, usageOf } from './program.ts'
import { paint } from './render/paint.ts'
import { outputLost, type Terminal } from './terminal.ts'

/**
 * Runs one command line to its end, the last byte of its output included. Never throws: whatever went wrong is printed, and
 * told by the status.
 */
export async function run(argv: readonly string[], terminal: Terminal): Promise<ExitStatus> {
  const status = await perform(argv, terminal)
  const end = await terminal.written()
  if (end.kind !== 'failed') return statusAfter(status, end, terminal)
  print(terminal, {
    status: exitStatus.failure,
    what: 'the output cannot be written',
    why: end.why,
    next: 'what the command changed is done: look at it with boxcar status',
  })
  await terminal.written()
  return exitStatus.failure
}

async function perform(argv: readonly string[], terminal: Terminal): Promise<ExitStatus> {
  let status: ExitStatus = exitStatus.done
  let context: CommandContext | undefined
  const program = buildProgram(
    async invocation => {
      const { catalogue } = await import('./commands/catalogue.ts')
      const load = catalogue[invocation.command]
      if (load === undefined) throw new Error(`no code belongs to the command ${invocation.command}`)
      context = { terminal, invocation }
      status = await (await load())(context)
    },
    { out: terminal.out.write, err: terminal.err.write, columns: terminal.out.columns },
  )
  try {
    await program.parseAsync(verbFirst(program, argv), { from: 'user' })
    return status
  } catch (error) {
    const trouble = await troubleOf(error, verbOf(program, argv), context)
    if (trouble === undefined) return exitStatus.done
    // Whoever closed the output was not interrupted, and asked for no more words.
    const isQuiet = trouble.status === exitStatus.interrupted && isOutputLost(terminal)
    if (!isQuiet) print(terminal, trouble)
    return trouble.status
  }
}

function print(terminal: Terminal, trouble: TroubleText): void {
  const [first = '', ...rest] = troubleLines(trouble)
  terminal.err.write(`${paint(terminal.err.color).bad(first)}\n${rest.map(line => `${line}\n`).join('')}`)
}

/** A failure keeps its own status, which tells more than that nobody read on. */
export function statusAfter(
  status: ExitStatus,
  end: OutputEnd,
  { interrupted }: Pick<Terminal, 'interrupted'>,
): ExitStatus {
  const isDone =
    status === exitStatus.done || (status === exitStatus.interrupted && isOutputLost({ interrupted }))
  if (!isDone) return status
  if (end.kind === 'closed') return exitStatus.readerGone
  return end.kind === 'unread' ? exitStatus.interrupted : status
}

const isOutputLost = ({ interrupted }: Pick<Terminal, 'interrupted'>) => interrupted.reason === outputLost

async function troubleOf(
  error: unknown,
  { path, command }: Verb,
  context: CommandContext | undefined,
): Promise<TroubleText | undefined> {
  if (error instanceof Trouble) return error.text
  if (error instanceof CommanderError) {
    const usage = usageOf(error, command)
    return usage === undefined
      ? undefined
      : { status: exitStatus.usage, ...usage, next: ['boxcar', ...path, '--help'].join(' ') }
  }
  const { troubleOfClient } = await import('./client.ts')
  const trouble = context === undefined ? undefined : troubleOfClient(error, context)
  return (
    trouble ?? {
      status: exitStatus.failure,
      what: 'boxcar failed',
      // A bug: its place is all that helps.
      why: error instanceof Error ? (error.stack ?? error.message) : String(error),
      next: 'please report this, with the lines above',
    }
  )
}
