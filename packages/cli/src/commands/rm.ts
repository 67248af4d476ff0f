import { plural } from '@boxcar/core/model/plural'
import { connect, serviceRef } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus } from '../exit.ts'
import { isWanted } from '../question.ts'
import { printList } from '../render/print.ts'
import { type Removed, watchGone } from '../watch-gone.ts'
import { withProgress } from '../watch-until.ts'
import { millisecondsFlag } from './flags.ts'

/** Stops services and forgets them, and watches until their instances are gone. Data stay where they are. */
export const rm: RunCommand = async context => {
  const { terminal, invocation } = context
  const { api, settings, actor } = connect(context)
  const refs = invocation.args.map(text => serviceRef(text, settings.project))
  const services = await Promise.all(refs.map(ref => api.service(ref)))
  const words = services
    .map(it => `${it.service} (${plural(it.replicas, 'replica')}, ${it.image})`)
    .join(', ')
  const question = `Remove ${words}? No data are deleted.`
  if (!(await isWanted(context, question, `whether to remove ${words}`))) return exitStatus.failure
  const removed: Removed[] = []
  for (const ref of refs) removed.push({ ref, deleted: await api.remove(ref, { actor }) })
  const deleted = removed.map(it => it.deleted)
  await printList(context, deleted, {
    columns: [
      { head: 'REMOVED', of: it => it.service },
      { head: 'STOPPING', of: it => plural(it.instances, 'instance') },
    ],
    nameOf: it => it.service,
    none: '',
  })
  if (invocation.flags['detach'] === true) return exitStatus.done
  const projects = [...new Set(refs.map(it => it.project))]
  await withProgress(terminal, onChange =>
    watchGone(api, removed, terminal, {
      ...millisecondsFlag(invocation, 'timeout'),
      again: projects.map(it => `boxcar get instances -p ${it}`).join('; '),
      onChange,
    }),
  )
  return exitStatus.done
}
