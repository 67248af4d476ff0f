/**
 * From when on a field of the spec that takes effect in place does so, in a clause, where what runs does not take it up at once;
 * nothing where it does. `field` is a top-level one.
 */
export function effectiveFrom(field: string): string | undefined {
  switch (field) {
    case 'placement':
      return 'for what is placed from now on; what runs stays where it stands'
    case 'restart':
      return 'from the next failures on; a wait that has begun goes on'
    default:
      return undefined
  }
}
