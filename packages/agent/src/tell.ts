import type { EventText } from '@boxcar/store/events'

/** Tells people of something that happened; written with the next reports. Never waits, never fails. */
export type Tell = (event: EventText) => void
