import { readFileSync } from 'node:fs'

/** This program's version, from its own package. */
export function programVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const found: unknown = JSON.parse(text)
  const version =
    typeof found === 'object' && found !== null && 'version' in found ? found.version : undefined
  return typeof version === 'string' ? version : 'unknown'
}
