/** What operators do to hosts: keep work off them, empty them, label them, forget them. */
import type { HostSettings } from '@boxcar/core/model/host'
import type { HostId } from '@boxcar/core/model/ids'
import { plural } from '@boxcar/core/model/plural'
import { absent, living, put, remove, unchanged, unleased } from '@boxcar/store/collection'
import { hostSettingsOf, hosts, presences } from '@boxcar/store/keys'
import { noHost } from './absent.ts'
import type { ApiDeps } from './deps.ts'
import type { Picture } from './picture.ts'
import type { Refusal } from './refusal.ts'
import { refuseUnread } from './unread.ts'
import type { HostView } from './views.ts'
import { type Author, type Tried, writing } from './writing.ts'

export type HostChange =
  | { readonly kind: 'cordon'; readonly why: string }
  /** Takes work again: ends a drain too. */
  | { readonly kind: 'uncordon' }
  | { readonly kind: 'drain'; readonly why: string }
  | { readonly kind: 'cancel-drain' }
  /** `null` takes a label away. */
  | { readonly kind: 'label'; readonly labels: Readonly<Record<string, string | null>> }

export type HostOutcome = { readonly kind: 'host'; readonly host: HostView } | Refusal
export type RemoveOutcome = { readonly kind: 'removed' } | Refusal

export class HostActions {
  readonly #deps: ApiDeps
  readonly #picture: Picture

  constructor(deps: ApiDeps, picture: Picture) {
    this.#deps = deps
    this.#picture = picture
  }

  async change(id: HostId, change: HostChange, author: Author): Promise<HostOutcome> {
    const { store, clock, events } = this.#deps
    return writing<HostOutcome>(this.#deps, async (): Promise<Tried<HostOutcome>> => {
      const [record, settings] = await Promise.all([store.get(hosts, id), store.get(hostSettingsOf, id)])
      const unread =
        (record === undefined ? this.#refuseUnreadRecord(id) : undefined) ??
        (settings === undefined ? this.#refuseUnreadSettings(id) : undefined)
      if (unread !== undefined) return { kind: 'answer', answer: unread }
      if (record === undefined) return { kind: 'answer', answer: noHost(this.#picture, id) }
      const before: HostSettings = settings?.value ?? { labels: {} }
      const after: HostSettings = changed(before, change, { by: author.actor, at: clock.wall() })
      const count = Object.keys(after.labels).length
      if (count > maxLabels) return { kind: 'answer', answer: tooManyLabels(count) }
      const show = (): HostOutcome => {
        const host = this.#picture.host(id)
        return host === undefined ? noHost(this.#picture, id) : { kind: 'host', host }
      }
      if (JSON.stringify(after) === JSON.stringify(before)) return { kind: 'answer', answer: show() }
      return {
        kind: 'commit',
        transaction: {
          guards: [
            settings === undefined
              ? absent(hostSettingsOf, id)
              : unchanged(hostSettingsOf, id, settings.modified),
          ],
          writes: [
            // Never removed while the host is known: the leader's guard sees writes and no deletions.
            put(hostSettingsOf, id, { ...after, requestId: author.requestId }),
            events.write({
              kind: `host-${change.kind}`,
              message: `${author.actor} ${storyOf(id, change)}`,
              actor: author.actor,
              requestId: author.requestId,
              host: id,
            }),
          ],
        },
        done: show,
        wasDone: async () => {
          const entry = await store.get(hostSettingsOf, id)
          return entry?.value['requestId'] === author.requestId ? entry.modified : undefined
        },
      }
    })
  }

  #refuseUnreadRecord(id: HostId): Refusal | undefined {
    return refuseUnread(this.#deps.mirror, hosts, id, `the record of host ${id}`)
  }

  #refuseUnreadSettings(id: HostId): Refusal | undefined {
    return refuseUnread(this.#deps.mirror, hostSettingsOf, id, `what operators set for host ${id}`)
  }

  /** Forgets a host that is gone for good. One that is there registers again, so it is refused. */
  async remove(id: HostId, author: Author): Promise<RemoveOutcome> {
    const { store, events } = this.#deps
    return writing<RemoveOutcome>(this.#deps, async (): Promise<Tried<RemoveOutcome>> => {
      const [record, present] = await Promise.all([
        store.get(hosts, id),
        store.get(presences, id).then(living),
      ])
      const unread = record === undefined ? this.#refuseUnreadRecord(id) : undefined
      if (unread !== undefined) return { kind: 'answer', answer: unread }
      if (record === undefined) return { kind: 'answer', answer: noHost(this.#picture, id) }
      if (present !== undefined)
        return {
          kind: 'answer',
          answer: {
            kind: 'wrong-state',
            words: `host ${id} is there and runs ${plural(this.#picture.runningOn(id).length, 'instance')}; stop its agent first`,
            next: `boxcar host drain ${id}`,
          },
        }
      return {
        kind: 'commit',
        transaction: {
          guards: [unchanged(hosts, id, record.modified), unleased(presences, id)],
          writes: [
            remove(hosts, id),
            remove(presences, id), // one without a lease may stand there
            remove(hostSettingsOf, id), // one that cannot be read goes as well: it is of this host alone
            events.write({
              kind: 'host-removed',
              message: `${author.actor} removed host ${id}`,
              actor: author.actor,
              requestId: author.requestId,
              host: id,
            }),
          ],
        },
        done: () => ({ kind: 'removed' }),
        wasDone: async () => {
          const listing = await store.list(hosts)
          return listing.entries.some(e => e.id === id) ? undefined : listing.revision
        },
      }
    })
  }
}

/** Given by operators; what a host says of itself is its own. */
const maxLabels = 128

const tooManyLabels = (count: number): Refusal => ({
  kind: 'wrong-body',
  faults: [
    {
      pointer: '/labels',
      code: 'too_many',
      message: `must not leave more than ${maxLabels} labels on a host; it would have ${count}`,
    },
  ],
})

function changed(
  before: HostSettings,
  change: HostChange,
  said: { readonly by: string; readonly at: number },
): HostSettings {
  const { cordon, drain, ...rest } = before
  const kept = {
    ...rest,
    ...(cordon === undefined ? {} : { cordon }),
    ...(drain === undefined ? {} : { drain }),
  }
  switch (change.kind) {
    case 'cordon':
      return cordon?.why === change.why ? before : { ...kept, cordon: { ...said, why: change.why } }
    case 'uncordon':
      return rest
    case 'drain':
      return drain === undefined ? { ...kept, drain: { ...said, why: change.why } } : before
    case 'cancel-drain': {
      const { drain: _ended, ...still } = kept
      return still
    }
    case 'label': {
      const labels = { ...before.labels }
      for (const [key, value] of Object.entries(change.labels)) {
        if (value === null) delete labels[key]
        else labels[key] = value
      }
      return { ...kept, labels }
    }
  }
}

function storyOf(id: HostId, change: HostChange): string {
  const because = (why: string) => (why === '' ? '' : `: ${why}`)
  switch (change.kind) {
    case 'cordon':
      return `cordoned host ${id}${because(change.why)}`
    case 'uncordon':
      return `lets host ${id} take work again`
    case 'drain':
      return `drains host ${id}${because(change.why)}`
    case 'cancel-drain':
      return `ended the drain of host ${id}`
    case 'label':
      return `labelled host ${id}: ${Object.entries(change.labels)
        .map(([key, value]) => (value === null ? `${key} removed` : `${key}=${value}`))
        .join(', ')}`
  }
}
