/** A number with its noun, as every message has it: `1 instance`, `3 instances`, `0.5 cores`. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

/** The verb of a counted noun: `1 instance stops`, `3 instances stop`. */
export const pluralVerb = (n: number, many: string, one = `${many}s`): string => (n === 1 ? one : many)
