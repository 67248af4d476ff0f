/** The live picture of services on their way: one tree for a terminal, or one line for each change. */
import type { InstanceView, ServiceView } from '@boxcar/api/views'
import { reasonOf, stateColor, stateWords, statusColor } from './columns.ts'
import { harmless, type Paint } from './paint.ts'
import { seconds } from './words.ts'

/** One service as it was seen at one moment. */
export interface Sight {
  readonly service: ServiceView
  readonly instances: readonly InstanceView[]
}

export interface TreeFrame {
  readonly sights: readonly Sight[]
  readonly elapsedMs: number
  /** How many lines there is room for. */
  readonly rows: number
  /** Something that the viewer should know of the view itself: the server is away. */
  readonly notice?: string
}

/** The tree. Where it is too high, instances that are ready are counted instead of listed, then the rest is cut at its end. */
export function tree(frame: TreeFrame, paint: Paint): readonly string[] {
  const notice = frame.notice === undefined ? [] : [paint.bad(harmless(frame.notice))]
  const whole = frame.sights.flatMap(sight => serviceTree(sight, frame.elapsedMs, paint, 'all'))
  const room = frame.rows - notice.length
  if (whole.length <= room) return [...whole, ...notice]
  const brief = frame.sights.flatMap(sight => serviceTree(sight, frame.elapsedMs, paint, 'not-ready'))
  if (brief.length <= room) return [...brief, ...notice]
  return [
    ...brief.slice(0, Math.max(1, room - 1)),
    paint.faint(`… ${brief.length - room + 1} more`),
    ...notice,
  ]
}

function serviceTree(
  sight: Sight,
  elapsedMs: number,
  paint: Paint,
  which: 'all' | 'not-ready',
): readonly string[] {
  const { service, instances } = sight
  const head = [
    paint.strong(service.service),
    statusColor(service.status, paint)(service.status),
    paint.faint(seconds(elapsedMs)),
    harmless(service.rollout.words),
  ].join('  ')
  const counts = service.rollout.counts.filter(
    it => it.wanted > 0 || it.ready + it.starting + it.failing + it.stopping > 0,
  )
  const lines = counts.flatMap((it, i) => {
    const [branch, stem] = i === counts.length - 1 ? ['└ ', '  '] : ['├ ', '│ ']
    const share = service.rollout.shares.find(({ generation }) => generation === it.generation)?.percent ?? 0
    const all = instances.filter(({ generation }) => generation === it.generation)
    const shown =
      which === 'all'
        ? all
        : all.filter(instance => instance.state !== 'ready' || instance.desired === 'stop')
    return [
      `${branch}generation ${it.generation}  ${it.role}  ${share}% of traffic  ${countWords(it)}`,
      ...shown.map((instance, j) => {
        const twig = j === shown.length - 1 ? '└ ' : '├ '
        return stem + twig + instanceLine(instance, paint)
      }),
    ]
  })
  return [head, ...lines]
}

function countWords(it: ServiceView['rollout']['counts'][number]): string {
  const more = [
    it.starting > 0 ? `${it.starting} starting` : '',
    it.failing > 0 ? `${it.failing} failing` : '',
    it.stopping > 0 ? `${it.stopping} stopping` : '',
  ].filter(text => text !== '')
  const ready = it.wanted > 0 ? [`${it.ready}/${it.wanted} ready`] : it.ready > 0 ? [`${it.ready} ready`] : []
  return [...ready, ...more].join(', ')
}

function instanceLine(it: InstanceView, paint: Paint): string {
  const restarts = it.restarts > 0 ? paint.busy(`  restarted ${it.restarts}×`) : ''
  const reason = it.state === 'ready' && it.desired === 'run' ? '' : reasonOf(it)
  const why = reason === '' ? '' : `  ${paint.faint(harmless(reason))}`
  return `${it.id}  ${it.host}  ${stateColor(it, paint)(stateWords(it))}${restarts}${why}`
}

/** What changed between two sights of a service, a line each, for logs. Without an earlier sight: where it starts. */
export function changeLines(before: Sight | undefined, after: Sight): readonly string[] {
  const { service } = after
  const lines: string[] = []
  const was = before?.service
  if (was?.rollout.phase !== service.rollout.phase || was.rollout.words !== service.rollout.words) {
    lines.push(`${service.service}: ${service.rollout.phase}: ${harmless(service.rollout.words)}`)
  }
  // While it moves, an instance is on two hosts: it stops on one and runs on the other.
  const placeOf = (it: InstanceView) => `${it.id} on ${it.host}`
  const earlier = new Map(before?.instances.map(it => [placeOf(it), it]))
  for (const it of after.instances) {
    const old = earlier.get(placeOf(it))
    earlier.delete(placeOf(it))
    const same = old !== undefined && stateWords(old) === stateWords(it) && old.restarts === it.restarts
    if (same) continue
    const reason = it.state === 'ready' ? '' : reasonOf(it)
    lines.push(`${placeOf(it)}: ${stateWords(it)}${reason === '' ? '' : `: ${harmless(reason)}`}`)
  }
  for (const gone of earlier.values()) lines.push(`${placeOf(gone)}: gone`)
  if (was?.status !== service.status) {
    lines.push(
      `${service.service}: ${service.status}, ${service.ready}/${service.replicas} ready: ${harmless(service.reason)}`,
    )
  }
  return lines
}
