import { nearest } from '@boxcar/api/faults'
import { type Command, InvalidArgumentError, Option } from 'commander'

export const groups = {
  ship: 'Ship:',
  rollout: 'Roll out:',
  look: 'Look:',
  operate: 'Operate:',
  processes: 'Processes:',
  topics: 'Topics:',
} as const

const connection = () => [
  new Option('-p, --project <name>', 'the project (BOXCAR_PROJECT; default: default)'),
  new Option('--server <url>', 'the API (BOXCAR_SERVER; default: http://127.0.0.1:7070)'),
  new Option('--token-file <file>', 'a file with the bearer token (or BOXCAR_TOKEN)'),
]

/** The flags of every command that asks a server. */
export function client(command: Command): Command {
  command.optionsGroup('Connection:')
  for (const option of connection()) command.addOption(option)
  return command
}

/** The same flags where no server is asked: whoever has them in an alias (`boxcar --server URL`) types them everywhere. */
export function noClient(command: Command): Command {
  for (const option of connection()) command.addOption(option.hideHelp())
  return command
}

/** Every command that changes something takes `--yes`, so that scripts need not know which ones ask. */
export function yes(command: Command, asks: 'asks' | 'never asks' = 'never asks'): Command {
  return command.option('-y, --yes', asks === 'asks' ? 'do not ask' : 'nothing is asked, with it or without')
}

/** The flags of commands that watch what they have changed. */
export function watched(command: Command): Command {
  return command
    .option('--detach', 'do not watch')
    .option(
      '--timeout <time>',
      'stop watching after so long (exit status 124); work on the cluster goes on',
      timeSpan,
    )
}

export const outputFormats = ['table', 'wide', 'json', 'yaml', 'name', 'jsonl'] as const

export function output(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how to print data; json is the object of the API')
      .choices(outputFormats)
      .argParser(oneOf(outputFormats))
      .default('table'),
  )
}

/** The flags of every process that works with etcd. */
export function etcd(command: Command): Command {
  return command
    .optionsGroup('etcd:')
    .option('--etcd <urls>', 'endpoints, a comma list (BOXCAR_ETCD; default: http://127.0.0.1:2379)')
    .option('--etcd-ca <file>', 'certificate authority of etcd, PEM')
    .option('--etcd-cert <file>', 'our certificate for etcd, PEM')
    .option('--etcd-key <file>', 'the key of that certificate, PEM')
    .option('--cluster <name>', 'which cluster in this etcd (BOXCAR_CLUSTER; default: default)')
    .optionsGroup('Options:')
    .addOption(
      new Option('--log <level>', 'how much to log, to standard error (BOXCAR_LOG; default: info)')
        .choices(logLevels)
        .argParser(oneOf(logLevels)),
    )
}

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const

/** Help that teaches: what one does with it, line by line. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map(line => `  ${line}`).join('\n')}\n`

/** A word of a list; for any other one the nearest is suggested. */
function oneOf(words: readonly string[]): (text: string) => string {
  return text => {
    if (words.includes(text)) return text
    throw new InvalidArgumentError(didYouMean(nearest(text, words), `It must be one of ${words.join(', ')}.`))
  }
}

/** A suggestion, where there is one, before what can be said in any case. */
export const didYouMean = (word: string | undefined, rest: string): string =>
  word === undefined ? rest : `did you mean ${word}? ${rest}`

export function wholeNumber(least: number, most: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`)
  }
}

/** `500ms`, `30s`, `5m`, `1h` in milliseconds. */
export function timeSpan(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text)
  const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match?.[2] ?? '']
  if (match === null || unit === undefined) {
    throw new InvalidArgumentError('It must be a time with a unit, such as 30s, 5m or 1h.')
  }
  return Math.round(Number(match[1]) * unit)
}

export const collect = (text: string, earlier: readonly string[] | undefined): readonly string[] => [
  ...(earlier ?? []),
  text,
]
