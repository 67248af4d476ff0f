import { spawn } from 'node:child_process'

export interface CommandOptions {
  /** Written to the command's standard input; nothing is written otherwise. */
  readonly input?: string
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** After so long the command is killed and counts as failed; 60 s unless told. */
  readonly timeoutMs?: number
  /** Aborted: the command is killed and counts as failed. */
  readonly signal?: AbortSignal
}

/** How a command ended. `status` is undefined when a signal, or our time limit, ended it. */
export interface CommandEnd {
  readonly status: number | undefined
  readonly stdout: string
  readonly stderr: string
}

/** A command that did not end with status 0; its message carries what the command itself said. */
export class CommandFailed extends Error {
  readonly argv: readonly string[]
  readonly end: CommandEnd

  constructor(argv: readonly string[], end: CommandEnd) {
    const said = (end.stderr.trim() || end.stdout.trim()).split('\n').slice(-5).join('\n')
    const how = end.status === undefined ? 'was ended by a signal' : `ended with status ${end.status}`
    super(`"${argv.join(' ')}" ${how}${said === '' ? '' : `: ${said}`}`)
    this.name = 'CommandFailed'
    this.argv = argv
    this.end = end
  }
}

/** Runs a command to its end and gives its standard output; throws `CommandFailed` on any other status than 0. */
export async function run(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const end = await tryRun(argv, options)
  if (end.status !== 0) throw new CommandFailed(argv, end)
  return end.stdout
}

/** Runs a command to its end and says how it ended; a command that is not there counts as status 127. */
export function tryRun(argv: readonly string[], options: CommandOptions = {}): Promise<CommandEnd> {
  const [program, ...args] = argv
  if (program === undefined) throw new TypeError('a command needs at least the program')
  return new Promise(resolve => {
    const child = spawn(program, args, {
      env: options.env ?? process.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.on('error', error => {
      // Of one that is killed the end is awaited.
      if (options.signal?.aborted !== true || child.pid === undefined)
        resolve({ status: 127, stdout, stderr: `${program}: ${error.message}` })
    })
    child.on('close', code => resolve({ status: code ?? undefined, stdout, stderr }))
    // A command that ends without reading its input closes the pipe; its status tells what matters.
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input ?? '')
  })
}
