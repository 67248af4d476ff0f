/** Numbers and times as people read them. */

/** `256MiB`, `1.5GiB`. */
export function memory(mib: number): string {
  if (mib < 1024) return `${mib}MiB`
  return `${trimmed(mib / 1024)}GiB`
}

/** Cores, from thousandths. */
export const cores = (milli: number): string => trimmed(milli / 1000)

const trimmed = (value: number) => String(Math.round(value * 100) / 100)

/** `12s`, `4m`, `3h`, `2d`: how long ago something was. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`
  return `${Math.floor(seconds / 86_400)}d`
}

/** Seconds with one digit, for things that one waits for. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)}s`

/** `2026-01-31 14:05:09`, in the time zone of the reader. */
export function moment(wall: number): string {
  const at = new Date(wall)
  const two = (value: number) => String(value).padStart(2, '0')
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

/** How a container ended, in words. */
export function exitWords(exit: { readonly code: number; readonly oomKilled: boolean }): string {
  if (exit.oomKilled) return `killed: out of memory (exit status ${exit.code})`
  if (exit.code > 128 && exit.code < 160) return `exit status ${exit.code} (signal ${exit.code - 128})`
  return `exit status ${exit.code}`
}
