/** The token that a file holds: its first line that is neither empty nor a comment (`#`); nothing where it has none. */
export const tokenIn = (text: string): string | undefined =>
  text
    .split('\n')
    .map(line => line.trim())
    .find(line => line !== '' && !line.startsWith('#'))
