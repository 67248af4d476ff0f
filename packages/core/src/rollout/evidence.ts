/** What a rollout's record keeps of a generation that was given up, within bounds: a record must stay well under 64 KiB. */
import type { Evidence } from '../model/rollout.ts'
import { cutText } from '../model/text.ts'

/** Instances whose evidence is kept, for each generation that was given up. */
export const evidenceLimit = 3
/** As a report is documented (model/report.ts), for one that is larger all the same. */
const mostLines = 20
const mostLineBytes = 200
const mostTextBytes = 1024

export const boundedEvidence = (evidence: readonly Evidence[]): Evidence[] =>
  evidence.slice(0, evidenceLimit).map(({ what, probe, lastLog, ...rest }) => ({
    ...rest,
    what: cutText(what, mostTextBytes),
    ...(probe === undefined ? {} : { probe: cutText(probe, mostTextBytes) }),
    ...(lastLog === undefined
      ? {}
      : { lastLog: lastLog.slice(-mostLines).map(line => cutText(line, mostLineBytes)) }),
  }))
