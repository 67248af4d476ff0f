/** What a rollout's record keeps of a generation that was given up, within bounds: a record must stay well under 64 KiB. */
import type { Evidence } from '../model/rollout.ts'
import { cutText } from '../model/text.ts'

/** Kept for each generation that was given up: of so many instances with what they said last, of others the reason alone. */
export const evidenceLimit = 3
const mostReasons = 8
/** As a report is documented (model/report.ts), for one that is larger all the same. */
const mostLines = 20
const mostLineBytes = 200
const mostProbeBytes = 1024
const mostReasonBytes = 600

export const boundedEvidence = (evidence: readonly Evidence[]): Evidence[] =>
  evidence.slice(0, mostReasons).map(({ what, probe, lastLog, ...rest }, i) => ({
    ...rest,
    what: cutText(what, mostReasonBytes),
    ...(probe === undefined || i >= evidenceLimit ? {} : { probe: cutText(probe, mostProbeBytes) }),
    ...(lastLog === undefined || i >= evidenceLimit
      ? {}
      : { lastLog: lastLog.slice(-mostLines).map(line => cutText(line, mostLineBytes)) }),
  }))
