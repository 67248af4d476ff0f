/**
 * The command line: every command with its arguments, flags and help. Nothing here does anything; `perform` is handed what
 * was said, so that tests can ask whether a line parses, and so that `boxcar --help` loads none of the commands' code.
 */
import { Command, CommanderError, Option } from 'commander'
import type { Perform } from './invocation.ts'
import { addLook } from './syntax/look.ts'
import { addNotYet } from './syntax/not-yet.ts'
import { addOperate } from './syntax/operate.ts'
import { addProcesses } from './syntax/processes.ts'
import { addRollout } from './syntax/rollout.ts'
import { addShip } from './syntax/ship.ts'
import { addTopics } from './syntax/topics.ts'
import { programVersion } from './version.ts'

export interface ProgramOutput {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly columns: number
}

/** The whole program. `parseAsync` throws commander's own error for a line that is none; see `usageOf`. */
export function buildProgram(perform: Perform, output: ProgramOutput): Command {
  const program = new Command('boxcar')
    .description(
      'Makes one computer out of plain Docker hosts: keeps services running and replaces them without losing a request.',
    )
    .usage('<command> [options]')
    .helpOption('-h, --help', 'show help')
    .version(`boxcar ${programVersion()}`, '--version', 'show the version of this program')
    .helpCommand('help [command]', 'show help for a command or a topic')
    .addHelpText(
      'after',
      `
Start here:
  $ boxcar dev                          a whole cluster on this machine, with a sample service
  $ boxcar status                       from another terminal
  $ boxcar scale hello=6
`,
    )
  const say = (command: string) =>
    async function act(this: Command): Promise<void> {
      // Processed: a short word for a kind is the full one by now.
      const args = this.processedArgs
        .flat()
        .filter(arg => arg !== undefined)
        .map(String)
      await perform({ command, args, flags: this.opts() })
    }
  for (const add of [addShip, addRollout, addLook, addOperate, addProcesses, addTopics, addNotYet])
    add(program, say)
  prepare(program, output)
  return program
}

/** What an action of commander is here: it only says which command was meant. */
export type Say = (command: string) => (this: Command) => Promise<void>

/** Every command alike: errors are thrown, not printed; text goes where we say. */
function prepare(command: Command, output: ProgramOutput): void {
  command
    .exitOverride()
    .configureOutput({
      writeOut: output.out,
      writeErr: output.err,
      outputError: () => undefined,
      getOutHelpWidth: () => output.columns,
      getErrHelpWidth: () => output.columns,
    })
    .configureHelp({ showGlobalOptions: false })
    .showSuggestionAfterError(true)
  // Heard before anything is parsed (terminal.ts), so that what is said of a wrong line is without colours as well.
  if (command.commands.length === 0)
    command.addOption(
      new Option('--no-color', 'without colours (NO_COLOR; default: on a terminal)').helpGroup('Options:'),
    )
  for (const sub of command.commands) prepare(sub, output)
}

/** What a person mistyped, in two parts; nothing where help or the version was asked for and shown. */
export function usageOf(
  error: CommanderError,
  command: Command,
): { readonly what: string; readonly why: string } | undefined {
  if (error.exitCode === 0) return undefined
  // A group without its command (`boxcar host`) has shown its help already.
  if (error.code === 'commander.help')
    return { what: 'the command is not complete', why: 'a command of this group is missing' }
  const text = error.message.replace(/^error: /, '')
  // A suggestion stands on a line of its own, and what a value must be behind the first sentence.
  const [, what = text, hint = ''] =
    /^(.*)\n\((.*)\)$/.exec(text) ?? /^(.*? is invalid)\.\s*(.*)$/s.exec(text) ?? []
  return { what, why: hint === '' ? reasonOf(error, command) : lowerFirst(hint) }
}

function reasonOf(error: CommanderError, command: Command): string {
  const missing = /missing required argument '(.*)'/.exec(error.message)?.[1]
  const described = command.registeredArguments.find(it => it.name() === missing)?.description ?? ''
  const reason = reasons[error.code] ?? 'the command line cannot be understood'
  return described === '' ? reason : `${reason}: ${described}`
}

const reasons: Readonly<Record<string, string>> = {
  'commander.unknownOption': 'this command has no such flag',
  'commander.unknownCommand': 'boxcar has no such command',
  'commander.missingArgument': 'it must be given',
  'commander.missingMandatoryOptionValue': 'it must be given',
  'commander.optionMissingArgument': 'the flag needs a value',
  'commander.invalidArgument': 'the value does not fit',
  'commander.excessArguments': 'there is more on the command line than the command takes',
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1)

export { CommanderError }
