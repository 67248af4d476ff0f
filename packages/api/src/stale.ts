/** After so long without a word from the store, a server is not ready, and its answers are marked as stale. */
export const staleMs = 5_000
