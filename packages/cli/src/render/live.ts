import type { Sink } from '../terminal.ts'
import { cut } from './paint.ts'

/** A part of the terminal that is drawn over and over in its place. */
export interface Live {
  draw(lines: readonly string[]): void
  /** Puts lines above the picture; they stay. */
  print(lines: readonly string[]): void
  /** Leaves the last picture standing and gives the cursor back. */
  end(): void
}

export function live(sink: Sink): Live {
  let height = 0
  let shown: readonly string[] = []
  const write = (lines: readonly string[]) => {
    const up = height > 0 ? `\u001b[${height}A` : ''
    // Each line is cleared to its end after it is written, and what the old picture had below as well: no flicker.
    const body = lines.map(line => `${cut(line, sink.columns)}\u001b[K\n`).join('')
    sink.write(`\u001b[?25l${up}\r${body}\u001b[J`)
    height = lines.length
    shown = lines
  }
  return {
    draw: lines => {
      const fits = lines.slice(0, Math.max(1, sink.rows - 1))
      if (fits.length !== shown.length || fits.some((line, i) => line !== shown[i])) write(fits)
    },
    print: lines => {
      const up = height > 0 ? `\u001b[${height}A\r\u001b[J` : ''
      sink.write(up + lines.map(line => `${line}\n`).join(''))
      height = 0
      const again = shown
      shown = []
      if (again.length > 0) write(again)
    },
    end: () => {
      sink.write('\u001b[?25h')
      height = 0
      shown = []
    },
  }
}
