import type { Obstacle } from './obstacle.ts'

/** One label expression of a spec, taken apart. Equality is membership in a set of one. */
export type LabelRule =
  | { readonly kind: 'has'; readonly key: string }
  | { readonly kind: 'lacks'; readonly key: string }
  | { readonly kind: 'in'; readonly key: string; readonly values: readonly string[] }
  | { readonly kind: 'not-in'; readonly key: string; readonly values: readonly string[] }

/**
 * Reads `key`, `!key`, `key = v`, `key != v`, `key in (a, b)`, `key not in (a, b)`.
 * Throws on anything else: specs are checked against this grammar before they are stored.
 */
export function parseWhere(text: string): LabelRule {
  const [, bang, bare] = /^\s*(?:(!)\s*)?([\w./-]+)\s*$/.exec(text) ?? []
  if (bare !== undefined) return { kind: bang === '!' ? 'lacks' : 'has', key: bare }

  const [, one, sign, value] = /^\s*([\w./-]+)\s*(!?=)\s*([\w./-]+)\s*$/.exec(text) ?? []
  if (one !== undefined && value !== undefined)
    return { kind: sign === '=' ? 'in' : 'not-in', key: one, values: [value] }

  const [, many, not, list] =
    /^\s*([\w./-]+)\s+(not\s+)?in\s*\(\s*([\w./-]+(?:\s*,\s*[\w./-]+)*)\s*\)\s*$/.exec(text) ?? []
  if (many !== undefined && list !== undefined)
    return {
      kind: not === undefined ? 'in' : 'not-in',
      key: many,
      values: list.split(',').map(v => v.trim()),
    }

  throw new Error(`not a label expression: ${text}`)
}

/** A rule as a person would write it. */
export function whereText(rule: LabelRule): string {
  switch (rule.kind) {
    case 'has':
      return rule.key
    case 'lacks':
      return `!${rule.key}`
    case 'in':
      return rule.values.length === 1
        ? `${rule.key} = ${rule.values[0]}`
        : `${rule.key} in (${rule.values.join(', ')})`
    case 'not-in':
      return rule.values.length === 1
        ? `${rule.key} != ${rule.values[0]}`
        : `${rule.key} not in (${rule.values.join(', ')})`
  }
}

/** Whether labels satisfy a rule. A missing label is equal to nothing, so `key != v` and `not in` hold without it. */
export function meets(labels: Readonly<Record<string, string>>, rule: LabelRule): boolean {
  const have = labelOf(labels, rule.key)
  switch (rule.kind) {
    case 'has':
      return have !== undefined
    case 'lacks':
      return have === undefined
    case 'in':
      return have !== undefined && rule.values.includes(have)
    case 'not-in':
      return have === undefined || !rule.values.includes(have)
  }
}

/** The rules that labels do not meet, each with what is there instead. */
export function labelObstacles(
  labels: Readonly<Record<string, string>>,
  where: readonly LabelRule[],
): readonly Obstacle[] {
  return where
    .filter(rule => !meets(labels, rule))
    .map(rule => {
      const value = labelOf(labels, rule.key)
      const have = value === undefined ? `no label ${rule.key}` : `${rule.key} = ${value}`
      return { kind: 'label', want: whereText(rule), have }
    })
}

/** A label's value; a label may be called `constructor`, so inherited properties do not count. */
export function labelOf(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined
}
