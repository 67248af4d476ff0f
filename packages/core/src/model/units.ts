import { z } from 'zod'

/** Sizes and times have no more characters than this; longer ones would be repeated in what is said of them. */
const longest = 32

/** Sizes in MiB. `256MiB`, Docker's `256m`, bytes are rounded up to whole MiB. */
export function parseMemoryMiB(text: string): number | { readonly problem: string } {
  const match = text.length > longest ? null : /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text)
  if (match === null) return { problem: 'must be a size such as 256MiB or 1.5GiB' }
  const [, digits = '', unit = ''] = match
  const short = /^([KMGT])i$/.exec(unit)
  if (short !== null) return { problem: `unit '${unit}' is not known; did you mean '${digits}${unit}B'?` }
  const decimal = /^([kKMGT])B$/.exec(unit)
  if (decimal !== null)
    return {
      problem: `unit '${unit}' is not known; did you mean '${digits}${(decimal[1] ?? '').toUpperCase()}iB'?`,
    }
  const kib = kibPerUnit[unit]
  if (unit === '') return { problem: `needs a unit: KiB, MiB or GiB; did you mean '${digits}MiB'?` }
  if (kib === undefined) return { problem: `unit '${unit}' is not known; use KiB, MiB or GiB` }
  return Math.ceil((Number(digits) * kib) / 1024)
}

const kibPerUnit: Readonly<Record<string, number>> = {
  KiB: 1,
  k: 1,
  MiB: 1024,
  m: 1024,
  GiB: 1024 ** 2,
  g: 1024 ** 2,
  TiB: 1024 ** 3,
}

/** Milliseconds of `500ms`, `2s`, `5m`, `1h`. */
export function parseDurationMs(text: string): number | { readonly problem: string } {
  const match = text.length > longest ? null : /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text)
  if (match === null) return { problem: 'must be a time with a unit, such as 500ms, 2s, 5m or 1h' }
  return Math.round(Number(match[1]) * (msPerUnit[match[2] ?? ''] ?? Number.NaN))
}

const msPerUnit: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** A size in a spec: text in, MiB out. */
export const memory = (min: string, max: string) =>
  measured(parseMemoryMiB, min, max, 'a size such as 256MiB')

/** A time in a spec: text in, milliseconds out. */
export const duration = (min: string, max: string) =>
  measured(parseDurationMs, min, max, 'a time such as 500ms, 2s, 5m or 1h')

function measured(
  parse: (text: string) => number | { readonly problem: string },
  min: string,
  max: string,
  what: string,
) {
  const [least, most] = [parse(min), parse(max)]
  return z.string({ error: `must be ${what}` }).transform((text, ctx) => {
    const value = parse(text)
    if (typeof value !== 'number') {
      ctx.issues.push({ code: 'custom', input: text, message: value.problem })
      return z.NEVER
    }
    if (value < (least as number) || value > (most as number)) {
      ctx.issues.push({
        code: 'custom',
        input: text,
        message: `must be from ${min} to ${max}`,
        params: { code: 'range' },
      })
      return z.NEVER
    }
    return value
  })
}

/** Cores in a spec, in thousandths out. `500m` gets a hint. */
export const cpus = z
  .number({
    error: issue =>
      typeof issue.input === 'string' && /^\d{1,7}m$/.test(issue.input)
        ? `must be a number of cores; did you mean ${Number.parseInt(issue.input, 10) / 1000}?`
        : 'must be a number of cores, such as 0.5',
  })
  .min(0.001, { error: 'must be from 0.001 to 1024 cores' })
  .max(1024, { error: 'must be from 0.001 to 1024 cores' })
  .transform(cores => Math.round(cores * 1000))
