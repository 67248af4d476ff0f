/** Why something that was asked for is not done. Data here; `routes/answers.ts` turns it into HTTP. */
import type { FaultView } from './views.ts'

export type Refusal =
  /** Of a spec. */
  | { readonly kind: 'invalid'; readonly faults: readonly FaultView[] }
  /** Of any other body. */
  | { readonly kind: 'wrong-body'; readonly faults: readonly FaultView[] }
  | { readonly kind: 'not-yet'; readonly faults: readonly FaultView[] }
  | { readonly kind: 'claimed'; readonly faults: readonly FaultView[] }
  /** `what` follows "there is no"; `near`: what was probably meant. */
  | { readonly kind: 'absent'; readonly what: string; readonly near?: string; readonly next?: string }
  /** A condition (`If-Match`) on the revision does not hold; none: there is no such object. */
  | { readonly kind: 'differs'; readonly revision: string | undefined }
  | { readonly kind: 'wrong-state'; readonly words: string; readonly next?: string }
  | { readonly kind: 'key-reused' }
  /** Others kept changing the same thing. */
  | { readonly kind: 'contended' }
  | { readonly kind: 'too-large' }
  | { readonly kind: 'full' }
  /** The store does not answer. `perhaps`: it may have been done all the same. */
  | { readonly kind: 'away'; readonly done: 'no' | 'perhaps' }

export const isRefusal = (value: { readonly kind: string }): value is Refusal => refusals.has(value.kind)

const refusals = new Set<string>([
  'invalid',
  'wrong-body',
  'not-yet',
  'claimed',
  'absent',
  'differs',
  'wrong-state',
  'key-reused',
  'contended',
  'too-large',
  'full',
  'away',
] satisfies Refusal['kind'][])
