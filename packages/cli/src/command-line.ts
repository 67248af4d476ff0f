/**
 * Command lines as people type them, put into the one form that the commands parse: the verb first, then its flags and arguments.
 * `boxcar -p shop get services` is `boxcar get -p shop services`, `-o=json` is `-o json`, and `boxcar help host drain` is
 * `boxcar host drain --help`. What a flag takes is read from the definitions of the commands; nothing is refused here but
 * `-project`, which would be read as `-p roject`.
 */
import type { Command, Option } from 'commander'

/** The command that a line means, as far as its words name one: `host drain`. */
export interface Verb {
  readonly path: readonly string[]
  readonly command: Command
}

/** Finds the command of a line; the program itself where there is none. */
export function verbOf(program: Command, argv: readonly string[]): Verb {
  return split(program, argv).verb
}

/** The same line with its verb first. */
export function verbFirst(program: Command, argv: readonly string[]): readonly string[] {
  const { verb, flags, rest, isHelp } = split(program, argv)
  const isUnknown = rest.length > 0 && rest[0] !== '--' && verb.command.commands.length > 0
  // An unknown command is told as such, whatever else is asked of it.
  if (isUnknown) return [...verb.path, rest[0] ?? '']
  if (isHelp) return [...verb.path, '--help']
  const isGroup = verb.command.commands.length > 0
  // Without a command there is none that could take the flags; those that nobody knows are told all the same.
  const own = isGroup ? flags.filter(flag => isOwn(verb.command, program, flag)) : flags
  return [...verb.path, ...spelledOut(verb.command, own), ...spelledOut(verb.command, rest)]
}

interface Split {
  readonly verb: Verb
  /** What stood before the verb or between its words. */
  readonly flags: readonly string[]
  readonly rest: readonly string[]
  readonly isHelp: boolean
}

function split(program: Command, argv: readonly string[]): Split {
  const known = optionsBelow(program)
  const path: string[] = []
  const flags: string[] = []
  let command = program
  let isHelp = false
  let isLiteral = false
  let at = 0
  while (at < argv.length && command.commands.length > 0) {
    const word = argv[at] ?? ''
    if (!isLiteral && word === '--') {
      isLiteral = true
      at += 1
    } else if (!isLiteral && isFlag(word)) {
      const count = takesNextWord(known, word, argv[at + 1], command) ? 2 : 1
      flags.push(...argv.slice(at, at + count))
      at += count
    } else if (word === 'help') {
      isHelp = true
      at += 1
    } else {
      const next = subcommand(command, word)
      if (next === undefined) break
      path.push(word)
      command = next
      at += 1
    }
  }
  const rest = argv.slice(at)
  return { verb: { path, command }, flags, rest: isLiteral ? ['--', ...rest] : rest, isHelp }
}

const isFlag = (word: string) => word.length > 1 && word.startsWith('-')

const subcommand = (command: Command, word: string) =>
  command.commands.find(it => it.name() === word || it.aliases().includes(word))

function optionsBelow(command: Command): readonly Option[] {
  return [...command.options, ...command.commands.flatMap(optionsBelow)]
}

/** Before the verb is known: `-f` takes a file for `deploy` and nothing for `logs`, so what may be a verb is one. */
function takesNextWord(
  known: readonly Option[],
  word: string,
  next: string | undefined,
  command: Command,
): boolean {
  const takes = valueKinds(known, isSingleDash(known, word) ? `-${word}` : word)
  if (!takes.has('next word')) return false
  return takes.size === 1 || (next !== undefined && subcommand(command, next) === undefined)
}

/** Whether the value of a flag is the next word, as far as the options with its name say. */
function valueKinds(known: readonly Option[], word: string): ReadonlySet<'next word' | 'none'> {
  // In a group such as `-Ap` the last letter alone can take the next word, and only if none before takes the rest of the group.
  const letters = /^-\w+$/.test(word) ? [...word.slice(1)].map(letter => `-${letter}`) : [word]
  for (const [i, flag] of letters.entries()) {
    const named = known.filter(option => isNamed(option, flag))
    const kinds = new Set(named.map(option => (option.required ? 'next word' : 'none')))
    if (i === letters.length - 1) return kinds
    if (kinds.size === 1 && kinds.has('next word')) return new Set(['none'])
  }
  return new Set()
}

/** Whether a flag before the verb says something without one: `--version`, `--help`, and what is unknown to every command. */
const isOwn = (command: Command, program: Command, flag: string) =>
  ['-h', '--help'].includes(flag) ||
  command.options.some(option => isNamed(option, flag)) ||
  (isFlag(flag) && !optionsBelow(program).some(option => isNamed(option, nameOf(flag))))

const isNamed = (option: Option, flag: string) => option.short === flag || option.long === flag

/** `--server=URL` and `-pshop` without their values. */
const nameOf = (flag: string) => (flag.startsWith('--') ? flag.replace(/=.*$/s, '') : flag.slice(0, 2))

/** `-o=json` as `-o json`; the values of flags are left as they are. */
function spelledOut(command: Command, words: readonly string[]): readonly string[] {
  const out: string[] = []
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? ''
    if (word === '--') return [...out, ...words.slice(at)]
    if (isFlag(word)) refuseSingleDash(command, word)
    const [, flag, value] = /^(-\w)=(.*)$/s.exec(word) ?? []
    if (flag !== undefined && value !== undefined && valueKinds(command.options, flag).has('next word')) {
      out.push(flag, value)
      continue
    }
    out.push(word)
    const next = words[at + 1]
    if (isFlag(word) && valueKinds(command.options, word).has('next word') && next !== undefined) {
      out.push(next)
      at += 1
    }
  }
  return out
}

function refuseSingleDash(command: Command, word: string): void {
  if (!isSingleDash(command.options, word)) return
  command.error(`error: unknown option '${word}'\n(Did you mean ${nameOf(`-${word}`)}?)`, {
    code: 'commander.unknownOption',
  })
}

/** `-project` or `-project=shop`, where there is `--project`. */
const isSingleDash = (known: readonly Option[], word: string) =>
  /^-\w[\w-]+/.test(word) && known.some(option => option.long === nameOf(`-${word}`))
