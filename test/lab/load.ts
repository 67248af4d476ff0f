import { Worker } from 'node:worker_threads'
import type { LoadOptions, LoadRecord } from './load-record.ts'

export { type LoadOptions, type LoadRecord, now } from './load-record.ts'

/** A load that is being sent. */
export interface Load {
  /** Sends no more, waits for the open requests (until their time-out at most), and gives what was seen. */
  stop(): Promise<LoadReport>
}

/** Starts to send requests at a fixed rate. Refuses addresses that are not of this computer's test networks. */
export function startLoad(options: LoadOptions): Load {
  check(options)
  const worker = new Worker(new URL('./load-worker.ts', import.meta.url), { workerData: options })
  const ended = new Promise<LoadReport>((resolve, reject) => {
    worker.once('message', (records: readonly LoadRecord[]) => resolve(new LoadReport(records)))
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('the load ended without a report')))
  })
  // Who asks for the report gets the error; until then it must not end the program.
  ended.catch(() => undefined)
  return {
    stop: async () => {
      worker.postMessage('stop')
      try {
        return await ended
      } finally {
        await worker.terminate()
      }
    },
  }
}

/** What a load saw: in the order in which the requests were sent. */
export class LoadReport {
  readonly records: readonly LoadRecord[]

  constructor(records: readonly LoadRecord[]) {
    this.records = [...records].sort((a, b) => a.t0 - b.t0)
  }

  /** Requests without a whole answer, and answers from 400 up. */
  get failures(): readonly LoadRecord[] {
    return this.records.filter(it => it.status === undefined || it.status >= 400)
  }

  get answered(): readonly LoadRecord[] {
    return this.records.filter(it => it.status !== undefined && it.status < 400)
  }

  /** Those sent at or after a time, up to another. */
  between(from: number, to = Number.POSITIVE_INFINITY): LoadReport {
    return new LoadReport(this.records.filter(it => it.t0 >= from && it.t0 < to))
  }

  /** How many answers each value of a field gave, for example `count('generation')`. */
  count(field: 'generation' | 'instance' | 'version' | 'host'): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const it of this.answered) counts.set(String(it[field]), (counts.get(String(it[field])) ?? 0) + 1)
    return new Map([...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  /** Milliseconds that a share of the answered quick requests took at most, for example `latency(0.99)`. */
  latency(share: number): number {
    const took = this.answered.filter(it => it.kind === 'quick').map(it => it.t1 - it.t0)
    took.sort((a, b) => a - b)
    return took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN
  }

  /** The figures in one paragraph, with the first failures in full. */
  summary(): string {
    const { records, failures } = this
    const seconds = ((records.at(-1)?.t0 ?? 0) - (records[0]?.t0 ?? 0)) / 1_000
    const counts = (field: 'generation' | 'host') =>
      [...this.count(field)].map(([value, count]) => `${value}: ${count}`).join(', ')
    const slow = records.filter(it => it.kind === 'slow').length
    const start = records[0]?.t0 ?? 0
    return [
      `${records.length} requests in ${seconds.toFixed(1)} s (${slow} slow), ${failures.length} failed`,
      `generations ${counts('generation') || '-'}; hosts ${counts('host') || '-'}`,
      `median ${this.latency(0.5).toFixed(1)} ms, 99 % ${this.latency(0.99).toFixed(1)} ms, worst ${this.latency(1).toFixed(1)} ms`,
      ...this.#around(start),
      ...failures.slice(0, 10).map(it => {
        const what = it.errno ?? `status ${it.status}${it.detail === undefined ? '' : `: ${it.detail}`}`
        const where = `${it.kind} ${it.url}${it.reused ? ', connection used before' : ''}`
        return `  at ${((it.t0 - start) / 1_000).toFixed(3)} s, after ${(it.t1 - it.t0).toFixed(0)} ms: ${what} (${where})`
      }),
    ].join('\n')
  }

  /** Which generation answered before and after the failures: whether they belong to a switch. */
  #around(start: number): readonly string[] {
    const [first, last] = [this.failures[0], this.failures.at(-1)]
    if (first === undefined || last === undefined) return []
    const before = this.answered.findLast(it => it.t1 < first.t1)?.generation
    const after = this.answered.find(it => it.t0 > last.t0)?.generation
    const at = (time: number) => ((time - start) / 1_000).toFixed(3)
    return [
      `failures from ${at(first.t0)} to ${at(last.t1)} s, between answers of generation ${before} and ${after}`,
    ]
  }
}

/** The networks that machines take (see `subnet.ts` there), and this computer itself. */
const ownAddress = /^(10\.7[789]|127|172\.30|198\.18)\.|^localhost$/

function check(options: LoadOptions): void {
  if (options.urls.length === 0) throw new RangeError('a load needs at least one address')
  for (const url of options.urls) {
    if (!ownAddress.test(new URL(url).hostname)) throw new RangeError(`${url} is not of the test network`)
  }
  const rates = [options.rate, ...(options.slow === undefined ? [] : [options.slow.rate])]
  if (rates.some(rate => !(rate > 0 && rate <= 5_000)))
    throw new RangeError('a load sends up to 5,000 a second')
  if ((options.maxMs ?? 0) > 900_000) throw new RangeError('a load lasts at most 15 minutes')
}
