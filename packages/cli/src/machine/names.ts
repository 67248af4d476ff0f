/**
 * What a machine's parts are called. The name is in all of them, so that two machines stand side by side, and so
 * that whatever a dead machine left behind is known for what it is.
 */
const prefix = 'bx-'

/** Every process of a machine carries the machine's name in this environment variable, and hands it on. */
export const machineVariable = 'BOXCAR_MACHINE'

/** Interface names end at 15 characters: `bx-` + 8 + `-h99`. */
export const isMachineName = (name: string): boolean => /^[a-z0-9]{1,8}$/.test(name)

export const bridgeOf = (machine: string): string => `${prefix}${machine}`
export const hostIdOf = (index: number): string => `h${index + 1}`
export const linkOf = (machine: string, host: string): string => `${prefix}${machine}-${host}`
export const namespaceOf = (machine: string, host: string): string => `${prefix}${machine}-${host}`
export const namespaceFile = (namespace: string): string => `/run/netns/${namespace}`
export const cgroupOf = (machine: string): string => `boxcar-${machine}`
/** Told from other firewall rules by this comment. */
export const ruleCommentOf = (machine: string): string => `boxcar-${machine}`

/** The machine that a control group belongs to; undefined for those of other people. */
export const machineOfCgroup = (group: string): string | undefined =>
  /^boxcar-([a-z0-9]{1,8})$/.exec(group)?.[1]

/** The machine that a bridge, a link or a namespace belongs to; undefined for those of other people. */
export const machineOfPart = (part: string): string | undefined =>
  /^bx-([a-z0-9]{1,8})(-h\d+)?$/.exec(part)?.[1]
