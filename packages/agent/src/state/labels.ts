/** What our containers' labels say, read and written in one place. The engine itself adds cluster and host. */
import type { SeenContainer } from '@boxcar/core/instance/converge'
import { type InstanceId, parseInstanceId, placeOf } from '@boxcar/core/model/ids'
import { type Container, labels as engineLabels } from '../engine/engine.ts'
import type { PlacedOrder } from './orders.ts'

export const labels = {
  ...engineLabels,
  uid: 'boxcar.uid',
  generation: 'boxcar.generation',
  attempt: 'boxcar.attempt',
  print: 'boxcar.print',
  grace: 'boxcar.stop-grace-ms',
} as const

export function labelsOf(
  order: PlacedOrder,
  attempt: number,
  graceMs: number,
): Readonly<Record<string, string>> {
  return {
    [labels.instance]: order.instance,
    [labels.uid]: order.uid,
    [labels.generation]: String(order.placed.generation),
    [labels.placement]: order.placement,
    [labels.attempt]: String(attempt),
    [labels.print]: order.print,
    [labels.grace]: String(graceMs),
  }
}

/** The same for the same try, so that a container whose creation was not answered is found again. */
export function containerName(cluster: string, order: PlacedOrder, attempt: number): string {
  const { service, generation, slot } = placeOf(order.instance)
  const place = `${service.replace('/', '-')}-${generation}-${slot}`
  return `boxcar-${cluster}-${place}-${order.placement}-${attempt}`
}

export function seenContainer(container: Container): SeenContainer {
  const text = container.labels[labels.instance] ?? ''
  return {
    id: container.id,
    state: stateOf(container),
    instance: parseInstanceId(text) === undefined ? undefined : (text as InstanceId),
    uid: container.labels[labels.uid] ?? '',
    print: container.labels[labels.print] ?? '',
    attempt: wholeOf(container.labels[labels.attempt]) ?? 0,
    graceMs: wholeOf(container.labels[labels.grace]) ?? usualGraceMs,
  }
}

/** As in the spec. */
const usualGraceMs = 10_000

const wholeOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined

function stateOf(container: Container): SeenContainer['state'] {
  switch (container.state) {
    case 'created':
      return 'created'
    case 'running':
    // A paused one answers no probe; its liveness ends it, as it does any other that hangs.
    case 'paused':
    case 'restarting':
      return 'running'
    case 'removing':
    case 'exited':
    case 'dead':
      return 'ended'
  }
}
