/** What a new spec changes, field by field. */
import { effectiveFrom } from '@boxcar/core/model/in-place'
import { pointerOf } from '../json.ts'
import type { DifferenceView } from '../views.ts'
import { isObject } from './merge-patch.ts'

/** `inTemplate` says of a top-level key whether it makes a generation. */
export function differences(
  before: unknown,
  after: unknown,
  inTemplate: (key: string) => boolean,
): readonly DifferenceView[] {
  const found: DifferenceView[] = []
  walk([], before, after)
  return found

  function walk(path: readonly (string | number)[], a: unknown, b: unknown): void {
    if (isObject(a) && isObject(b)) {
      for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort())
        walk([...path, key], a[key], b[key])
      return
    }
    if (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.some(isObject)) {
      a.forEach((_, i) => {
        walk([...path, i], a[i], b[i])
      })
      return
    }
    if (JSON.stringify(a) === JSON.stringify(b)) return
    const effect = inTemplate(String(path[0] ?? '')) ? 'generation' : 'in-place'
    const from = effect === 'in-place' ? effectiveFrom(String(path[0] ?? '')) : undefined
    found.push({
      pointer: pointerOf(path),
      before: a,
      after: b,
      effect,
      ...(from === undefined ? {} : { from }),
    })
  }
}
