/** What the client's errors mean for us. */
import {
  GRPCCancelledError,
  GRPCDeadlineExceededError,
  GRPCInvalidArgumentError,
  GRPCOutOfRangeError,
  GRPCResourceExhastedError,
  GRPCUnavailableError,
} from 'etcd3'

/** In one line, without what the client puts around it. */
export const textOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error))
    .replace(/^\w+Error: /, '')
    .replace(/\s*\n[\s\S]*/, '')
    .replace(/\s*Resolution note:.*/, '')

/** The member did not answer: another one may. Anything else is an answer. */
export const isNoAnswer = (error: unknown): boolean =>
  error instanceof GRPCUnavailableError ||
  error instanceof GRPCDeadlineExceededError ||
  error instanceof GRPCCancelledError

/** There was no connection to send it on: it was certainly not done. */
export const isNeverSent = (error: unknown): boolean =>
  error instanceof GRPCUnavailableError && error.message.includes('No connection established')

/** The revision asked for was compacted away. */
export const isCompacted = (error: unknown): boolean =>
  error instanceof GRPCOutOfRangeError && error.message.includes('compacted')

/** What became of a transaction that failed. Only refusals that were certainly not applied are told apart from unknown. */
export function failureOf(error: unknown): 'full' | 'too-large' | 'lease-gone' | 'unknown' {
  const text = textOf(error)
  if (text.includes('requested lease not found')) return 'lease-gone'
  if (error instanceof GRPCInvalidArgumentError)
    return text.includes('too large') || text.includes('too many operations') ? 'too-large' : 'unknown'
  if (error instanceof GRPCResourceExhastedError) {
    if (text.includes('space exceeded')) return 'full'
    if (text.includes('larger than max')) return 'too-large'
  }
  return 'unknown'
}
