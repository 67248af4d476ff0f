/** What an engine passes on from a registry, sorted by what can be done about it. */
export type RegistryVerdict = 'not-found' | 'denied' | 'invalid' | 'away'

/**
 * Sorts by the engine's sentence: its statuses differ between versions and calls, the registry's words have stayed.
 * What is not recognised counts as away, so that it is tried again.
 */
export function registryVerdict(reason: string): RegistryVerdict {
  for (const [verdict, pattern] of patterns) if (pattern.test(reason)) return verdict
  return 'away'
}

const patterns: readonly (readonly [RegistryVerdict, RegExp])[] = [
  // Hub says this also of what does not exist.
  [
    'denied',
    /pull access denied|unauthorized|access to the resource is denied|authentication required|no basic auth credentials|forbidden/i,
  ],
  [
    'not-found',
    /manifest unknown|name unknown|no matching manifest|does not exist|(?:manifest|repository|image)\b.*\bnot found|not found: /i,
  ],
  ['invalid', /invalid reference format|repository name must be|unsupported digest|invalid digest/i],
]
