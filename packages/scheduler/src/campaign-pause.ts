/**
 * How long a candidate stays away from the election after its term failed. One that met what makes every leader fail at once would
 * otherwise be elected again at once, tens of times a second, and the store would carry nothing but elections.
 */
import type { Chance } from '@boxcar/core/model/clock'

const firstMs = 500
const growth = 2
const mostMs = 30_000
/** A term that lasted so long forgives the failures before it. */
const wellMs = 60_000

export class CampaignPause {
  readonly #chance: Chance
  #failures = 0

  constructor(chance: Chance) {
    this.#chance = chance
  }

  /** After a term that ended with a failure, `ledMs` after it began. Drawn from the upper half, so that candidates do not keep step. */
  afterFailure(ledMs: number): number {
    this.#failures = ledMs >= wellMs ? 1 : this.#failures + 1
    const fullMs = Math.min(mostMs, firstMs * growth ** Math.min(this.#failures - 1, 16))
    return fullMs * (0.5 + this.#chance.next() / 2)
  }

  /** After one that ended otherwise: it was lost to another, or the process stops. */
  afterTerm(ledMs: number): void {
    if (ledMs >= wellMs) this.#failures = 0
  }
}
