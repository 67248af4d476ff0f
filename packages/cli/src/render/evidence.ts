import type { MisplacedView, RolloutView, UnservedView, WhyView } from '@boxcar/api/views'
import { plural, pluralVerb } from '@boxcar/core/model/plural'
import { harmless } from './paint.ts'

export type RejectionView = NonNullable<RolloutView['rejection']>

/** Why a generation was given up, with everything that was seen: host, exit status, probe, last words. */
export function rejectionLines(it: RejectionView): readonly string[] {
  return [harmless(it.words), ...it.evidence.flatMap(evidenceLines)]
}

function evidenceLines(it: RejectionView['evidence'][number]): readonly string[] {
  const who = [it.instance, it.host === undefined ? undefined : `on ${it.host}`].filter(
    text => text !== undefined,
  )
  const what =
    it.exitCode === undefined || it.what.includes(String(it.exitCode))
      ? it.what
      : `${it.what} (exit status ${it.exitCode})`
  return [
    harmless(`${who.length === 0 ? '' : `${who.join(' ')}: `}${what}`),
    ...(it.probe === undefined || it.probe === '' ? [] : indented('probe: ', it.probe)),
    ...(it.lastLog ?? []).map(line => `  | ${harmless(line)}`),
  ]
}

const indented = (head: string, text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line, i) => `  ${i === 0 ? head : ' '.repeat(head.length)}${harmless(line)}`)

/** What is in the way of a service, and of an instance, host by host. */
export function obstacleLines(why: WhyView): readonly string[] {
  const ofService = why.obstacles.map(obstacle => `${why.about}: ${harmless(obstacle.words)}`)
  const ofInstances = why.waiting.flatMap(it => [
    `${it.instance} waits${why.waitingCount > 1 ? `, and ${why.waitingCount - 1} more of its service` : ''}:`,
    ...(it.hosts.length === 0 ? ['  no host is there'] : []),
    ...it.hosts.flatMap(({ host, obstacles }) =>
      obstacles.map(obstacle => `  ${host}: ${harmless(obstacle.words)}`),
    ),
  ])
  return [...ofService, ...ofInstances]
}

/** What hosts do not serve of the routes, and what to do: said once where it is the same for several. */
export function unservedLines(unserved: readonly UnservedView[] = []): readonly string[] {
  const nexts = [...new Set(unserved.map(it => it.next))]
  return [...unserved.map(unservedLine), ...nexts.map(next => `  ${harmless(next)}`)]
}

export const unservedLine = (it: UnservedView): string => `${it.host}: ${harmless(it.words)}`

/** Instances that could not be placed where they stand now: a line for each host and reason. */
export function misplacedLines(found: readonly MisplacedView[]): readonly string[] {
  if (found.length === 0) return []
  const reasons = Map.groupBy(
    found,
    ({ host, obstacles }) => `${host}: ${obstacles.map(({ words }) => words).join(' and ')}`,
  )
  const head = `${plural(found.length, 'instance')} ${pluralVerb(found.length, 'stand')} where ${found.length === 1 ? 'it' : 'they'} could not be placed now:`
  return [
    head,
    ...[...reasons].map(([reason, group]) =>
      harmless(`  ${reason}: ${group.map(({ instance }) => instance).join(', ')}`),
    ),
  ]
}
