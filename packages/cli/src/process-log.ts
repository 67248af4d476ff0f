import { type Logger, pino } from 'pino'
import type { Settings } from './settings.ts'

/** The log of a process that runs on: JSON lines to standard error, each with the process's name. */
export function processLog(settings: Settings, name: 'server' | 'agent'): Logger {
  const destination = pino.destination({ dest: 2, sync: true })
  return pino({ level: settings.log, base: { process: name, cluster: settings.cluster } }, destination)
}
