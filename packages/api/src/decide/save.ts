/**
 * What a PUT or PATCH of a service writes: the spec, a generation where one comes, the addresses it claims and those it
 * gives up, and the generations that need not be kept. Decided from one look at the store; the guards of the transaction see
 * to it that the look still stands.
 */
import type { GenerationNumber, ServiceName } from '@boxcar/core/model/ids'
import type { Rollout } from '@boxcar/core/model/rollout'
import { listenersOf } from '@boxcar/core/model/route'
import type { GenerationRecord, SpecRecord } from '@boxcar/core/model/service'
import {
  fingerprint,
  type ServiceSpec,
  type ServiceSpecText,
  type TemplateText,
  templateText,
} from '@boxcar/core/model/spec'
import type { ClaimId, GenerationId } from '@boxcar/store/keys'
import type { Entry } from '@boxcar/store/store'
import type { FaultView, SavedView, WarningView } from '../views.ts'
import { type Claim, claimedByOthers, claimsOf, type HeldClaim, sameId } from './claims.ts'
import { type GenerationAnswer, type Manner, nextGeneration, superfluous } from './generation.ts'
import { type HeldPort, heldPortFaults } from './held-ports.ts'
import { warningsOf } from './warnings.ts'

export interface Seen {
  readonly spec: Entry<ServiceName, SpecRecord> | undefined
  readonly rollout: Entry<ServiceName, Rollout> | undefined
  readonly generations: readonly Entry<GenerationId, GenerationRecord>[]
  /** On the ports that the old and the new spec listen on. */
  readonly claims: readonly HeldClaim[]
  /** By others than this service; none where it asks for no port that it did not have. */
  readonly heldPorts: readonly HeldPort[]
}

export interface Ask {
  readonly service: ServiceName
  /** As it shall be stored. */
  readonly text: Readonly<Record<string, unknown>>
  readonly spec: ServiceSpec
  readonly manner: Manner
  /** A scaling that leaves the text as it is. */
  readonly replicas?: number
  /** For a service that is new. */
  readonly freshUid: string
  readonly by: string
  readonly at: number
  readonly requestId: string
}

export type Changed = SavedView['changed']

export interface Save {
  readonly kind: 'save'
  readonly changed: Changed
  readonly answer: GenerationAnswer
  readonly record: Omit<SpecRecord, 'spec'>
  readonly generation: Omit<GenerationRecord, 'template'> | undefined
  readonly claim: readonly Claim[]
  readonly release: readonly ClaimId[]
  readonly prune: readonly GenerationNumber[]
  readonly previousImage: string | undefined
  readonly warnings: readonly WarningView[]
}

export type SaveDecision =
  | Save
  | { readonly kind: 'invalid'; readonly faults: readonly FaultView[] }
  | { readonly kind: 'claimed'; readonly faults: readonly FaultView[] }
  | { readonly kind: 'not-yet'; readonly faults: readonly FaultView[] }

/** So many generations go in one transaction; the next save takes the rest. */
const maxPruned = 16

export function decideSave(seen: Seen, ask: Ask): SaveDecision {
  const before = seen.spec?.value
  const uid = before?.uid ?? ask.freshUid
  // A record of an earlier service of the same name says nothing about this one.
  const rollout = seen.rollout?.value.uid === uid ? seen.rollout.value : undefined
  const template = templateText(ask.text)
  const answer = nextGeneration({
    manner: ask.manner,
    asked: before && {
      number: before.generation,
      print: fingerprint(templateText(before.text)),
      hasHostPort: hasHostPort(before.spec),
    },
    next: { print: fingerprint(template), image: ask.spec.image, hasHostPort: hasHostPort(ask.spec) },
    rollout,
  })
  if (answer.kind === 'refused') return { kind: 'not-yet', faults: [hostPortFault(ask.spec)] }
  const held = heldPortFaults(before?.spec, ask.spec, seen.heldPorts)
  if (held.length > 0) return { kind: 'invalid', faults: held }
  const wanted = claimsOf(ask.spec.routes)
  const taken = claimedByOthers(wanted, seen.claims, ask.service)
  if (taken.length > 0) return { kind: 'claimed', faults: taken }

  const own = seen.generations.filter(g => g.value.uid === uid)
  const number = numberFor(answer, before, own)
  const replicas = ask.replicas ?? ask.spec.replicas ?? before?.replicas ?? 1
  const isNew = answer.kind === 'first' || answer.kind === 'new'
  const { spec: _parsed, ...kept } = before ?? {}
  const text = ask.text as ServiceSpecText // checked: ask.spec is what it parses to
  const inPlace =
    before === undefined || before.replicas !== replicas || stableText(before.text) !== stableText(ask.text)
  return {
    kind: 'save',
    changed:
      answer.kind === 'first' ? 'created' : isNew ? 'new-generation' : inPlace ? 'in-place' : 'unchanged',
    answer,
    record: {
      ...kept, // also what a newer version of the program stored
      service: ask.service,
      uid,
      text,
      replicas,
      generation: number,
      by: ask.by,
      at: ask.at,
      requestId: ask.requestId,
    },
    generation: isNew
      ? {
          service: ask.service,
          uid,
          number,
          text: template as TemplateText,
          listeners: listenersOf(ask.spec.routes),
          at: ask.at,
          by: ask.by,
        }
      : undefined,
    claim: wanted.filter(claim => !holds(seen.claims, claim, ask.service)),
    release: seen.claims
      .filter(held => held.service === ask.service && !wanted.some(claim => sameId(claim.id, held.id)))
      .map(held => held.id),
    prune: superfluous(
      own.map(g => g.value.number),
      ask.spec.keepGenerations,
      number,
      rollout,
    ).slice(-maxPruned),
    previousImage: isNew ? before?.spec.image : undefined,
    warnings: [...warningsOf(ask.spec), ...ruleWarnings(answer)],
  }
}

/** Never a number that was used before, also by generations that nobody asks for any more. */
function numberFor(
  answer: GenerationAnswer,
  before: SpecRecord | undefined,
  own: readonly Entry<GenerationId, GenerationRecord>[],
): GenerationNumber {
  if (before !== undefined && answer.kind === 'same') return before.generation
  return (Math.max(0, before?.generation ?? 0, ...own.map(g => g.value.number)) + 1) as GenerationNumber
}

const hasHostPort = (spec: Pick<ServiceSpec, 'ports'>) => spec.ports.some(p => p.hostPort !== undefined)

function hostPortFault(spec: ServiceSpec): FaultView {
  const index = spec.ports.findIndex(p => p.hostPort !== undefined)
  return {
    pointer: `/ports/${index}/hostPort`,
    code: 'not_supported',
    message:
      'is not supported yet: a new generation of a service with a fixed host port (the old one holds it); leave it out, or remove the service first',
  }
}

function ruleWarnings(answer: GenerationAnswer): readonly WarningView[] {
  return answer.kind === 'same' && answer.because === 'host-port'
    ? [
        {
          pointer: '/image',
          code: 'tag-not-resolved',
          message:
            'the tag was not looked up again: a new generation cannot run beside one with a fixed host port yet',
        },
      ]
    : []
}

function holds(held: readonly HeldClaim[], claim: Claim, service: ServiceName): boolean {
  const found = held.find(h => h.service === service && sameId(h.id, claim.id))
  return found !== undefined && (found.protocol ?? 'http') === claim.protocol
}

function stableText(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
