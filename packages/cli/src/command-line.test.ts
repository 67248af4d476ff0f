/** Command lines as people type them: what each means, and what is said of those that mean nothing. */
import type { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { verbFirst } from './command-line.ts'
import { catalogue } from './commands/catalogue.ts'
import type { Invocation } from './invocation.ts'
import { buildProgram } from './program.ts'
import { run } from './run.ts'
import { notYetCommands } from './syntax/not-yet.ts'
import { testTerminal } from './test-terminal.ts'

async function meaning(argv: readonly string[]): Promise<Invocation> {
  let found: Invocation | undefined
  const program = buildProgram(
    async invocation => {
      found = invocation
    },
    { out: () => {}, err: () => {}, columns: 100 },
  )
  await program.parseAsync(verbFirst(program, argv), { from: 'user' })
  if (found === undefined) throw new Error('no command was meant')
  return found
}

/** A line as a shell would split it, without quotes. */
const words = (line: string) => line.split(' ').filter(word => word !== '')

const said = async (line: string) => {
  const terminal = testTerminal({ env: { BOXCAR_SERVER: 'http://127.0.0.1:1' } })
  const status = await run(words(line), terminal)
  return { status, out: terminal.outText(), err: terminal.errText() }
}

type Flags = Readonly<Record<string, unknown>>

describe('one meaning, however it is typed', () => {
  const shop = { project: 'shop' }
  test.each<[string, string, readonly string[], Flags]>([
    // Flags before the verb, behind it, and behind the arguments.
    ['-p shop get services', 'get', ['services'], shop],
    ['get -p shop services', 'get', ['services'], shop],
    ['get services -p shop', 'get', ['services'], shop],
    [
      '-p shop --server http://h:1 -o json get services',
      'get',
      ['services'],
      { ...shop, server: 'http://h:1', output: 'json' },
    ],
    ['--token-file t get services', 'get', ['services'], { tokenFile: 't' }],
    ['--no-color get services', 'get', ['services'], { color: false }],
    ['--yes rm web', 'rm', ['web'], { yes: true }],
    ['-y --timeout 5s rm web', 'rm', ['web'], { yes: true, timeout: 5_000 }],
    ['-o json host ls', 'host ls', [], { output: 'json' }],
    ['host -o json ls', 'host ls', [], { output: 'json' }],
    ['-p shop rollout --timeout 1m watch web', 'rollout watch', ['web'], { ...shop, timeout: 60_000 }],
    // `-f` is a file for some and nothing for others.
    ['-f logs web', 'logs', ['web'], { follow: true }],
    ['-f web.yaml deploy', 'deploy', [], { file: ['web.yaml'] }],
    ['-f deploy.yaml -f b.yaml deploy', 'deploy', [], { file: ['deploy.yaml', 'b.yaml'] }],
    ['-fp shop logs web', 'logs', ['web'], { ...shop, follow: true }],
    // The value behind an equals sign, or without a space.
    ['--project=shop get services', 'get', ['services'], shop],
    ['get services --project=shop --output=yaml', 'get', ['services'], { ...shop, output: 'yaml' }],
    ['-pshop get services', 'get', ['services'], shop],
    ['get services -pshop -oyaml', 'get', ['services'], { ...shop, output: 'yaml' }],
    ['get services -p=shop -o=yaml', 'get', ['services'], { ...shop, output: 'yaml' }],
    ['-p=shop -o=yaml get services', 'get', ['services'], { ...shop, output: 'yaml' }],
    ['get services -Ap shop', 'get', ['services'], { ...shop, allProjects: true }],
    ['-Ap shop get services', 'get', ['services'], { ...shop, allProjects: true }],
    // A value may look like anything.
    ['host cordon h1 --why -o=json', 'host cordon', ['h1'], { why: '-o=json', output: 'table' }],
    ['host cordon h1 --why --yes', 'host cordon', ['h1'], { why: '--yes' }],
    ['--why get host cordon h1', 'host cordon', ['h1'], { why: 'get' }],
    // Said twice: the last one counts, except for lists.
    ['get services -p a -p shop', 'get', ['services'], shop],
    ['-p a get services -p shop', 'get', ['services'], shop],
    ['get services -o json -o name', 'get', ['services'], { output: 'name' }],
    ['rm web --yes -y', 'rm', ['web'], { yes: true }],
    ['deploy -f a --image x=1 --image y=2', 'deploy', [], { image: ['x=1', 'y=2'] }],
    // Behind two hyphens nothing is a flag.
    ['logs -- web', 'logs', ['web'], {}],
    ['logs -f -- web', 'logs', ['web'], { follow: true }],
    ['-p shop -- logs web', 'logs', ['web'], shop],
    ['rm -- --yes', 'rm', ['--yes'], {}],
    ['exec web/1/0 -- sh -p x', 'exec', ['web/1/0', 'sh', '-p', 'x'], {}],
    // Words for kinds.
    ...['service', 'services', 'svc', 'svcs', 'SVC'].map(
      (kind): [string, string, readonly string[], Flags] => [`get ${kind}`, 'get', ['services'], {}],
    ),
    ...['instance', 'instances', 'inst', 'insts'].map((kind): [string, string, readonly string[], Flags] => [
      `describe ${kind} web/1/0`,
      'describe',
      ['instance', 'web/1/0'],
      {},
    ]),
    ['get gen web', 'get', ['generations', 'web'], {}],
    ['get host', 'get', ['hosts'], {}],
    ['get project', 'get', ['projects'], {}],
    ['get route', 'get', ['routes'], {}],
    ['get rollout', 'get', ['rollouts'], {}],
    ['logs shop/web/7/2', 'logs', ['shop/web/7/2'], {}],
    ['rollback web', 'undo', ['web'], {}],
    // What watches.
    ['rm web --detach', 'rm', ['web'], { detach: true }],
    ['rm web --timeout 5m', 'rm', ['web'], { timeout: 300_000 }],
    ['undo web --yes --detach', 'undo', ['web'], { yes: true, detach: true }],
  ])('boxcar %s', async (line, command, args, flags) => {
    const meant = await meaning(words(line))
    expect(meant).toMatchObject({ command, args, flags })
  })
})

describe('every command', () => {
  const program = buildProgram(() => Promise.resolve(), { out: () => {}, err: () => {}, columns: 100 })
  const leaves = leavesOf(program, [])
  /** What is to come takes any flag, and is refused by name. */
  const notYet = [...notYetCommands, 'rollout promote', 'rollout pause', 'rollout resume']
  const real = leaves.filter(({ name }) => !notYet.includes(name))
  /** Enough arguments for each; a new command without them fails below. */
  const rest: Readonly<Record<string, string>> = {
    ...{ deploy: '-f a', plan: '-f a', scale: 'web=1', rm: 'web', undo: 'web', get: 'svc', logs: 'web' },
    ...{ describe: 'svc web', why: 'web', 'host label': 'h1 a=b' },
    ...Object.fromEntries(['cordon', 'uncordon', 'drain'].map(verb => [`host ${verb}`, 'h1'])),
    ...Object.fromEntries(['status', 'watch', 'history', 'abort'].map(verb => [`rollout ${verb}`, 'web'])),
  }

  test.each(notYet)('%s is to come: refused by name, whatever is said with it', async name => {
    const { status, err } = await said(`-p shop ${name} web --yes --foo 1`)
    expect(status).toBe(1)
    expect(err).toContain(`Error: boxcar ${name} is not supported yet`)
  })

  test('is there', () => {
    const names = Object.keys(catalogue).map(name => name.replace(/^topic /, ''))
    expect(leaves.map(it => it.name).sort()).toEqual(names.sort())
  })

  /** Processes: their flags are their own. Pages: they only are shown. */
  const apart = ['server', 'agent', 'dev', 'settings', 'exit-status']
  const asking = real.filter(({ name }) => !apart.includes(name)).map(it => it.name)

  test.each(asking)('%s takes the global flags, wherever they stand', async name => {
    const flags = '-p shop --server http://h:1 --token-file t --no-color'
    for (const line of [`${flags} ${name} ${rest[name] ?? ''}`, `${name} ${rest[name] ?? ''} ${flags}`]) {
      expect((await meaning(words(line))).flags, line).toMatchObject({
        ...{ project: 'shop', server: 'http://h:1', tokenFile: 't', color: false },
      })
    }
  })

  const looking = [
    'plan',
    'status',
    'get',
    'describe',
    'why',
    'events',
    'logs',
    'explain',
    'version',
    'doctor',
  ]
  const changing = asking.filter(
    name =>
      !looking.includes(name) &&
      !['rollout status', 'rollout watch', 'rollout history', 'host ls'].includes(name),
  )
  test.each(changing)('%s changes something, so it takes --yes', async name => {
    for (const flag of ['--yes', '-y']) {
      const meant = await meaning(words(`${name} ${rest[name] ?? ''} ${flag}`))
      expect(meant.flags).toMatchObject({ yes: true })
    }
  })

  test.each(real.map(it => it.name))('%s shows its help, however it is asked', async name => {
    const { out } = await said(`${name} --help`)
    expect(out).not.toBe('')
    for (const line of [
      `help ${name}`,
      `--help ${name}`,
      `-h ${name}`,
      `${name} -h`,
      `-p shop help ${name}`,
    ]) {
      expect(await said(line), line).toEqual({ status: 0, out, err: '' })
    }
  })

  test.each(real.flatMap(({ name, command }) => wrongFlags(command).map(flag => [name, ...flag] as const)))(
    '%s: of %s is said %s',
    async (name, wrong, right) => {
      for (const line of [`${name} ${rest[name] ?? ''} ${wrong}`, `${wrong} ${name} ${rest[name] ?? ''}`]) {
        const { status, err } = await said(line)
        expect(status, line).toBe(2)
        expect(err, line).toMatch(new RegExp(`did you mean (?:one of )?[^?]*${right}`))
      }
    },
  )
})

describe('lines that mean nothing', () => {
  test.each([
    ['get srvices', 'did you mean services?', 'boxcar get --help'],
    ['get servcie', 'did you mean services?', 'boxcar get --help'],
    ['get hots', 'did you mean hosts?', 'boxcar get --help'],
    ['describe srvice web', 'did you mean service?', 'boxcar describe --help'],
    ['get', 'it must be given: one of projects, services', 'boxcar get --help'],
    ['-p shop get', 'it must be given: one of projects, services', 'boxcar get --help'],
    ['depoy', 'did you mean deploy?', 'boxcar --help'],
    ['-p shop depoy', 'did you mean deploy?', 'boxcar --help'],
    ['help depoy', 'did you mean deploy?', 'boxcar --help'],
    ['depoy --help', 'did you mean deploy?', 'boxcar --help'],
    ['help setings', 'did you mean settings?', 'boxcar --help'],
    ['host drian h1', 'did you mean drain?', 'boxcar host --help'],
    ['-o json host drian h1', 'did you mean drain?', 'boxcar host --help'],
    ['rollout histroy web', 'did you mean history?', 'boxcar rollout --help'],
    ['get svc -o jsn', 'did you mean json?', 'boxcar get --help'],
    ['-o yml get svc', 'did you mean yaml?', 'boxcar get --help'],
    ['server --log debg', 'did you mean debug?', 'boxcar server --help'],
    ['explain replica', 'did you mean replicas?', 'boxcar explain replicas'],
    ['get svc -project shop', 'did you mean --project?', 'boxcar get --help'],
    ['-project shop get svc', 'did you mean --project?', 'boxcar get --help'],
    ['-project=shop get svc', 'did you mean --project?', 'boxcar get --help'],
    ['rm web -yes', 'did you mean --yes?', 'boxcar rm --help'],
    ['logs web --since ten', 'it must be a time with a unit', 'boxcar logs --help'],
    ['get svc -p', 'the flag needs a value', 'boxcar get --help'],
  ])('boxcar %s', async (line, why, next) => {
    const { status, out, err } = await said(line)
    expect(status).toBe(line.startsWith('explain') ? 1 : 2)
    expect(out).toBe('')
    expect(err).toContain(`  Why: ${why}`)
    expect(err).toContain(` Next: ${next}\n`)
  })

  test('no command at all: the help, and what is missing', async () => {
    for (const line of ['', '-p shop', 'host', '-o json host']) {
      const { status, err } = await said(line)
      expect(status, line).toBe(2)
      expect(err).toMatch(/^Usage: boxcar/)
      expect(err).toContain('Error: the command is not complete')
    }
  })
})

function leavesOf(
  command: Command,
  path: readonly string[],
): readonly { readonly name: string; readonly command: Command }[] {
  if (command.commands.length === 0) return [{ name: path.join(' '), command }]
  return command.commands.flatMap(sub => leavesOf(sub, [...path, sub.name()]))
}

/** Each long flag with two letters swapped. */
function wrongFlags(command: Command): readonly (readonly [wrong: string, right: string])[] {
  return command.options
    .filter(option => !option.hidden)
    .flatMap(({ long }) =>
      long === undefined || long === null || long.length < 7
        ? []
        : [[`${long.slice(0, 4)}${long[5]}${long[4]}${long.slice(6)}`, long] as const],
    )
    .filter(([wrong, right]) => wrong !== right)
}
