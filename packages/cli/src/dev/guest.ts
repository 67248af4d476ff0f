/**
 * What a run of `boxcar dev` made on an engine that is not its own: containers and images, known by their labels, and the
 * proxies of its logical hosts, known by their configuration. Serves the orderly end and the run that was killed alike.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { run, tryRun } from '../machine/command.ts'
import { allPids, commandLineOf } from '../machine/procfs.ts'
import type { Guest } from './folder.ts'

/** On the sample's images, also on those between two steps of a build. */
export const sampleLabel = 'boxcar.sample'

const limitMs = 30_000

/** Takes all of it away. Looks again until nothing is there; rejects with what is left when it does not go. */
export async function clearGuest(guest: Guest, dir: string): Promise<void> {
  const docker = dockerOf(guest)
  for (const deadline = performance.now() + limitMs; ; await sleep(100)) {
    const { proxies, containers, images } = await lookFor(guest, dir)
    if (proxies.length + containers.length + images.length === 0) return
    if (performance.now() > deadline) throw new Error((await guestResidue(guest, dir)).join('\n'))
    for (const pid of proxies) kill(pid)
    // One that goes by itself just now is no failure: the next look tells.
    if (containers.length > 0) await tryRun([...docker, 'rm', '--force', '--volumes', ...containers])
    if (images.length > 0) await tryRun([...docker, 'rmi', '--force', ...images])
  }
}

/** Everything of it that is there, a line each; none after a good end. */
async function guestResidue(guest: Guest, dir: string): Promise<readonly string[]> {
  const { proxies, containers, images } = await lookFor(guest, dir)
  return [
    ...proxies.map(pid => `process ${pid}: ${commandLineOf(pid).join(' ')}`),
    ...containers.map(id => `container ${id} on ${guest.engine}`),
    ...images.map(id => `image ${id} on ${guest.engine}`),
  ]
}

async function lookFor(guest: Guest, dir: string) {
  const docker = dockerOf(guest)
  const list = async (...args: readonly string[]) =>
    (await run([...docker, ...args, '--all', '--quiet', '--no-trunc'])).split('\n').filter(id => id !== '')
  const [instances, builds, images] = await Promise.all([
    list('ps', '--filter', `label=boxcar.cluster=${guest.cluster}`),
    list('ps', '--filter', `label=${sampleLabel}=${guest.cluster}`),
    list('image', 'ls', '--filter', `label=${sampleLabel}=${guest.cluster}`),
  ])
  return {
    proxies: proxiesOf(dir),
    containers: [...new Set([...instances, ...builds])],
    images: [...new Set(images)],
  }
}

const dockerOf = ({ engine }: Guest) => ['docker', '--host', engine]

/** Proxies outlive their agents, as they should on a real host. Those of a run have its folder in their command line. */
function proxiesOf(dir: string): readonly number[] {
  return allPids().filter(pid => {
    const words = commandLineOf(pid)
    return words.includes('-W') && words[words.indexOf('-f') + 1]?.startsWith(`${dir}/`) === true
  })
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}
