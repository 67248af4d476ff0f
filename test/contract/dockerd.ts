/**
 * A Docker engine of the test's own, with a registry beside it, in a network namespace where nothing else lives: its
 * firewall rules, ports and images meet nobody else's.
 * Needs root, and Debian's docker.io, docker-registry, iptables and busybox-static.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, open, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { removeCgroup } from '@boxcar/cli/machine/cgroup'
import { abandoned, namespaceOf, ownFolder, takeAway } from '../lab/own-folder.ts'

const run = promisify(execFile)

export interface Dockerd {
  /** Where its API listens: a path of a Unix socket. */
  readonly socket: string
  /** The registry's address as the engine sees it. */
  readonly registry: string
  readonly dataRoot: string
  /** The process id of the engine. */
  pid(): number
  /** The distribution's own client against this engine; resolves to what it printed. */
  docker(...args: readonly string[]): Promise<string>
  /** Any command inside the engine's network namespace. */
  inside(...args: readonly string[]): Promise<string>
  /** Makes `name` known to the engine: BusyBox and nothing else, with changes in the form of a Dockerfile. */
  importBusybox(name: string, changes?: readonly string[]): Promise<void>
  /** Ends the engine's process; its containers end with it. */
  stopEngine(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
  startEngine(): Promise<void>
  stopRegistry(): Promise<void>
  startRegistry(): Promise<void>
  /** Takes away everything that was started and made. */
  close(): Promise<void>
}

/** Starts the engine and the registry, and waits until both answer. */
export async function startDockerd(): Promise<Dockerd> {
  await takeAway(await abandoned())
  const dir = await ownFolder('contract')
  const name = namespaceOf(dir)
  const socket = join(dir, 'docker.sock')
  const dataRoot = join(dir, 'data')
  const registry = '127.0.0.1:5000'
  const processes = new Map<'engine' | 'registry', ChildProcess>()

  await mkdir(dataRoot)
  await mkdir(join(dir, 'tmp'))
  await run('ip', ['netns', 'add', name])
  const inside = async (...args: readonly string[]) =>
    (await run('nsenter', [`--net=/run/netns/${name}`, '--', ...args], { maxBuffer: 64 << 20 })).stdout
  await inside('ip', 'link', 'set', 'lo', 'up')
  await writeFile(
    join(dir, 'registry.yml'),
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${dir}/registry }, delete: { enabled: true } }\nhttp: { addr: "${registry}" }\n`,
  )

  const start = async (what: 'engine' | 'registry', args: readonly string[]) => {
    const log = await open(join(dir, `${what}.log`), 'a')
    const child = spawn('nsenter', [`--net=/run/netns/${name}`, '--', ...args], {
      stdio: ['ignore', log.fd, log.fd],
      // An engine that stood still sends its containerd a SIGUSR1, which writes its stacks there.
      env: { ...process.env, TMPDIR: join(dir, 'tmp') },
    })
    await once(child, 'spawn')
    await log.close()
    processes.set(what, child)
  }
  const stop = async (what: 'engine' | 'registry', signal: NodeJS.Signals) => {
    const child = processes.get(what)
    processes.delete(what)
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await Promise.race([gone, sleep(20_000, undefined, { ref: false })])
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await gone
  }
  const until = async (what: 'engine' | 'registry', answers: () => Promise<unknown>) => {
    for (let tries = 0; ; tries++) {
      const child = processes.get(what)
      try {
        return await answers()
      } catch (error) {
        if (tries >= 200 || child?.exitCode != null) {
          const log = await readFile(join(dir, `${what}.log`), 'utf8')
          throw new Error(`the test's own ${what} does not start:\n${log.slice(-4000)}`, { cause: error })
        }
        await sleep(50)
      }
    }
  }

  const docker = async (...args: readonly string[]) =>
    (await run('docker', ['-H', `unix://${socket}`, ...args], { maxBuffer: 64 << 20 })).stdout

  const self: Dockerd = {
    socket,
    registry,
    dataRoot,
    docker,
    inside,
    pid() {
      const pid = processes.get('engine')?.pid
      if (pid === undefined) throw new Error('the engine is not running')
      return pid
    },
    async startEngine() {
      // In a mount namespace of its own for /run/docker, where the engine keeps network namespaces whatever its
      // exec-root is; setpriv ends the engine with the test's process, however that ends.
      const script = `
        mkdir -p /run/docker && mount -t tmpfs tmpfs /run/docker && hostname ${name} &&
        exec setpriv --pdeathsig SIGTERM dockerd -H unix://${socket} --data-root ${dataRoot} --exec-root ${dir}/exec \
          --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /${name} \
          --pidfile ${dir}/docker.pid --bip 10.213.0.1/24 --log-level warn`
      await start('engine', ['unshare', '--mount', '--uts', '--', 'sh', '-c', script])
      await until('engine', () => docker('version'))
    },
    stopEngine: signal => stop('engine', signal),
    async startRegistry() {
      await start('registry', [
        'setpriv',
        '--pdeathsig',
        'SIGKILL',
        'docker-registry',
        'serve',
        join(dir, 'registry.yml'),
      ])
      await until('registry', () => inside('busybox', 'wget', '-q', '-O', '-', `http://${registry}/v2/`))
    },
    stopRegistry: () => stop('registry', 'SIGKILL'),
    async importBusybox(image, changes = []) {
      const root = await mkdtemp(join(dir, 'root-'))
      try {
        for (const folder of ['bin', 'tmp', 'etc']) await mkdir(join(root, folder))
        await copyFile('/bin/busybox', join(root, 'bin/busybox'))
        for (const applet of [
          'sh',
          'sleep',
          'cat',
          'echo',
          'httpd',
          'nc',
          'wget',
          'kill',
          'seq',
          'test',
          'env',
          'head',
          'dd',
        ])
          await symlink('busybox', join(root, 'bin', applet))
        await run('tar', ['-cf', join(dir, 'root.tar'), '-C', root, '.'])
        await docker('import', ...changes.flatMap(change => ['-c', change]), join(dir, 'root.tar'), image)
      } finally {
        await rm(root, { recursive: true, force: true })
      }
    },
    async close() {
      const running = processes.has('engine') ? await docker('ps', '-q').catch(() => '') : ''
      const ids = running.split('\n').filter(id => id !== '')
      if (ids.length > 0) await docker('kill', ...ids).catch(() => '')
      await stop('engine', 'SIGTERM')
      await stop('registry', 'SIGKILL')
      await removeCgroup(name)
      await run('ip', ['netns', 'del', name]).catch(() => undefined)
      await rm(dir, { recursive: true, force: true })
    },
  }
  try {
    await Promise.all([self.startEngine(), self.startRegistry()])
  } catch (error) {
    await self.close()
    throw error
  }
  return self
}
