import { type Command, InvalidArgumentError, Option } from 'commander'

export const groups = {
  ship: 'Ship:',
  rollout: 'Roll out:',
  look: 'Look:',
  operate: 'Operate:',
  processes: 'Processes:',
} as const

/** The flags of every command that asks a server. */
export function client(command: Command): Command {
  return command
    .optionsGroup('Connection:')
    .option('-p, --project <name>', 'the project (BOXCAR_PROJECT; default: default)')
    .option('--server <url>', 'the API (BOXCAR_SERVER; default: http://127.0.0.1:7070)')
    .option('--token-file <file>', 'a file with the bearer token (or BOXCAR_TOKEN)')
}

export const outputFormats = ['table', 'wide', 'json', 'yaml', 'name', 'jsonl'] as const

export function output(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how to print data; json is the object of the API')
      .choices(outputFormats)
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
      new Option('--log <level>', 'how much to log, to standard error (BOXCAR_LOG; default: info)').choices([
        'trace',
        'debug',
        'info',
        'warn',
        'error',
        'silent',
      ]),
    )
}

/** Help that teaches: what one does with it, line by line. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map(line => `  ${line}`).join('\n')}\n`

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
