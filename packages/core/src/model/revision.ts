/** A store revision: decimal digits without leading zeros, compared by `compareRevisions`, never computed with. */
export type Revision = string & { readonly __brand: 'Revision' }

export const noRevision = '0' as Revision

/** Revisions have no leading zeros, so the longer one is the newer one. */
export const compareRevisions = (a: Revision | string, b: Revision | string): number =>
  a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)
