/** Where the store's loops write what people may need later. Fields first, then one sentence; fits common loggers. */
export interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export const silent: Log = { info: () => {}, warn: () => {}, error: () => {} }
