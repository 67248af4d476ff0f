import type { RolloutView } from '@boxcar/api/views'
import { phaseColor } from './columns.ts'
import { rejectionLines } from './evidence.ts'
import { harmless, type Paint } from './paint.ts'
import { fields } from './table.ts'
import { moment, span } from './words.ts'

/** One rollout: its phase, who answers what, and why a generation was given up. */
export function rolloutLines(it: RolloutView, now: number, paint: Paint): readonly string[] {
  return [
    ...fields(
      [
        ['Service', it.service],
        [
          'Phase',
          `${phaseColor(it, paint)(it.phase)}${it.since === undefined ? '' : ` for ${span(now - it.since)}`}`,
        ],
        ['', harmless(it.words)],
        [
          'Asked for',
          `generation ${it.asked}${it.sameAs === undefined ? '' : `, the same container as ${it.sameAs}`}`,
        ],
        [
          'Answers',
          it.shares.map(share => `generation ${share.generation}: ${share.percent}%`).join(', ') ||
            'nothing yet',
        ],
        ['Instances', it.counts.map(countWords).join('\n')],
        [
          'Images',
          Object.entries(it.images)
            .map(([generation, image]) => `${generation}: ${image}`)
            .join('\n'),
        ],
        ['Given up at', it.deadline === undefined ? undefined : `${moment(it.deadline)} unless it is ready`],
      ],
      paint,
    ),
    ...(it.rejection === undefined
      ? []
      : ['', paint.bad('Given up:'), ...rejectionLines(it.rejection).map(line => `  ${line}`)]),
  ]
}

function countWords(it: RolloutView['counts'][number]): string {
  const parts = [
    `${it.ready}${it.wanted > 0 ? `/${it.wanted}` : ''} ready`,
    it.starting > 0 ? `${it.starting} starting` : '',
    it.failing > 0 ? `${it.failing} failing` : '',
    it.stopping > 0 ? `${it.stopping} stopping` : '',
  ]
  return `generation ${it.generation} (${it.role}): ${parts.filter(part => part !== '').join(', ')}`
}
