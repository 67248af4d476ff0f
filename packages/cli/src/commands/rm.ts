import { connect, serviceRef } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { isWanted } from '../question.ts'
import { printList } from '../render/print.ts'
import { count } from '../render/words.ts'

/** Stops services and forgets them. Data stay where they are. */
export const rm: RunCommand = async context => {
  const { invocation } = context
  const { api, settings, actor } = connect(context)
  const refs = invocation.args.map(text => serviceRef(text, settings.project))
  const services = await Promise.all(refs.map(ref => api.service(ref)))
  const words = services.map(it => `${it.service} (${count(it.replicas, 'replica')}, ${it.image})`).join(', ')
  const question = `Remove ${words}? No data are deleted.`
  if (!(await isWanted(context, question, `whether to remove ${words}`))) return exitStatus.failure
  const removed = []
  for (const ref of refs) removed.push(await api.remove(ref, { actor }))
  await printList(context, removed, {
    columns: [
      { head: 'REMOVED', of: it => it.service },
      { head: 'STOPPING', of: it => count(it.instances, 'instance') },
    ],
    nameOf: it => it.service,
    none: '',
  })
  return exitStatus.done
}
