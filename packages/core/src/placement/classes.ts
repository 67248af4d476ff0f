import { byId } from '../model/ids.ts'
import { type LabelRule, meets, whereText } from './where.ts'

/**
 * Hosts with the same labels form a class, known by a small number. A label constraint is answered once a class, and
 * the answers are kept for the next ask with the same rules.
 */
export class LabelClasses {
  /** By class number; undefined where a number waits to be used again. */
  readonly #labels: (Readonly<Record<string, string>> | undefined)[] = []
  readonly #members: number[] = []
  readonly #byText = new Map<string, number>()
  readonly #unused: number[] = []
  readonly #answers = new Map<string, { readonly version: number; readonly meets: Uint8Array }>()
  /** Rises with each new class, which makes kept answers incomplete. */
  #version = 0

  /** Counts one more host with these labels and says its class. */
  join(labels: Readonly<Record<string, string>>): number {
    const text = textOf(labels)
    const known = this.#byText.get(text)
    if (known !== undefined) {
      this.#members[known] = (this.#members[known] ?? 0) + 1
      return known
    }
    const fresh = this.#unused.pop() ?? this.#labels.length
    this.#labels[fresh] = labels
    this.#members[fresh] = 1
    this.#byText.set(text, fresh)
    this.#version++
    return fresh
  }

  /** Counts one host less; a class without hosts is forgotten. */
  leave(number: number): void {
    const members = (this.#members[number] ?? 0) - 1
    this.#members[number] = members
    const labels = this.#labels[number]
    if (members > 0 || labels === undefined) return
    this.#byText.delete(textOf(labels))
    this.#labels[number] = undefined
    this.#unused.push(number)
  }

  /** By class number, 1 where its labels meet all the rules. */
  meeting(rules: readonly LabelRule[]): Uint8Array {
    const text = rules.map(whereText).join('\n')
    const kept = this.#answers.get(text)
    if (kept?.version === this.#version) return kept.meets
    const fresh = Uint8Array.from(this.#labels, labels =>
      labels !== undefined && rules.every(rule => meets(labels, rule)) ? 1 : 0,
    )
    if (this.#answers.size >= mostAnswers) this.#answers.clear()
    this.#answers.set(text, { version: this.#version, meets: fresh })
    return fresh
  }
}

/** Kept answers take a byte a class each; distinct sets of rules are few in practice. */
const mostAnswers = 1000

const textOf = (labels: Readonly<Record<string, string>>): string =>
  JSON.stringify(Object.entries(labels).sort(([a], [b]) => byId(a, b)))
