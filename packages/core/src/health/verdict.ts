/**
 * Alive, suspect, cut off or lost. A missing presence key is a question, not an answer: stores can revoke the leases of living
 * holders (etcd-io/etcd#15247), so the leader asks the agent itself before it believes a host lost. What counts is that questions
 * go unanswered, not that time goes by: a leader that was busy and asked nobody has learnt nothing.
 */
import { elapsed, type Instant } from '../model/clock.ts'
import type { HostId } from '../model/ids.ts'

/** A host without presence key is lost when its agent leaves questions unanswered for so long, counted from the first of them. */
export const graceMs = 2000
/** So many questions at least: one may go unheard because the leader itself was too busy to hear the answer. */
const leastUnanswered = 2
/** Without a presence key for so long, a host that is not lost is cut off from the store. */
export const cutOffMs = 60_000

/** What the leader remembers of a host whose presence key is gone; starts empty when it takes office. */
export interface Absence {
  readonly host: HostId
  /** When the leader itself saw the key gone, by its own monotonic clock, as every time here. */
  readonly goneSince: Instant
  /** When the last question was sent. */
  readonly asked: Instant | undefined
  /** When the newest question that the agent answered was sent. */
  readonly answered: Instant | undefined
  /** Questions sent after that one and not answered: how many, and when the oldest of them was sent. */
  readonly silence: { readonly since: Instant; readonly questions: number } | undefined
}

export const beginAbsence = (host: HostId, goneSince: Instant): Absence => ({
  host,
  goneSince,
  asked: undefined,
  answered: undefined,
  silence: undefined,
})

/** What became of a question; they may end in another order than they were sent in. */
export function heard(absence: Absence, sentAt: Instant, didAnswer: boolean): Absence {
  const { goneSince, answered, silence } = absence
  if (sentAt < goneSince || (answered !== undefined && sentAt <= answered)) return absence
  if (didAnswer)
    return { ...absence, answered: sentAt, silence: (silence?.since ?? 0) > sentAt ? silence : undefined }
  const since = silence === undefined || sentAt < silence.since ? sentAt : silence.since
  return { ...absence, silence: { since, questions: (silence?.questions ?? 0) + 1 } }
}

/** Whether the agent answered the last question whose end is known. */
export const isAnswering = ({ answered, silence }: Absence): boolean =>
  answered !== undefined && silence === undefined

export function verdict(absence: Absence | undefined, now: Instant): 'alive' | 'suspect' | 'lost' {
  if (absence === undefined) return 'alive'
  const { silence } = absence
  const isSilent = silence !== undefined && silence.questions >= leastUnanswered
  return isSilent && elapsed(silence.since, now) >= graceMs ? 'lost' : 'suspect'
}

/** Whether a host that is not lost is cut off from the store. */
export const isCutOff = ({ goneSince }: Absence, now: Instant): boolean => elapsed(goneSince, now) >= cutOffMs
