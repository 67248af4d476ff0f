/** An etcd as a person uses it with etcdctl: by its own JSON gateway, past Boxcar. */
export interface EtcdGateway {
  /** By key and value, without a lease, as a copy by script does it. */
  put(key: string, value: string): Promise<'done' | 'refused'>
  get(key: string): Promise<string | undefined>
  /** `etcdctl compact`, `defrag` and `alarm disarm`. */
  compact(revision: string): Promise<void>
  defragment(): Promise<void>
  disarm(): Promise<void>
}

export function etcdGateway(endpoint: string): EtcdGateway {
  async function call(path: string, body: object): Promise<Response> {
    return await fetch(`${endpoint}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) })
  }
  async function must(path: string, body: object): Promise<void> {
    const answer = await call(path, body)
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    await answer.body?.cancel()
  }
  const base64 = (text: string) => Buffer.from(text).toString('base64')
  return {
    put: async (key, value) => {
      const answer = await call('kv/put', { key: base64(key), value: base64(value) })
      await answer.body?.cancel()
      return answer.ok ? 'done' : 'refused'
    },
    get: async key => {
      // etcd's documented form
      const { kvs } = (await (await call('kv/range', { key: base64(key) })).json()) as {
        readonly kvs?: readonly { readonly value: string }[]
      }
      const value = kvs?.[0]?.value
      return value === undefined ? undefined : Buffer.from(value, 'base64').toString()
    },
    compact: revision => must('kv/compaction', { revision, physical: true }),
    defragment: () => must('maintenance/defragment', {}),
    disarm: async () => {
      // As etcdctl does it: each alarm by itself.
      const { alarms = [] } = (await (await call('maintenance/alarm', { action: 'GET' })).json()) as {
        readonly alarms?: readonly object[]
      }
      for (const alarm of alarms) await must('maintenance/alarm', { ...alarm, action: 'DEACTIVATE' })
    },
  }
}
