import { plural } from '@boxcar/core/model/plural'
import { connect, serviceRef } from '../client.ts'
import type { RunCommand } from '../command.ts'
import { exitStatus, Trouble } from '../exit.ts'
import { printList } from '../render/print.ts'

/** Changes how many instances run. What was asked for is checked whole before anything is changed. */
export const scale: RunCommand = async context => {
  const { api, settings, actor } = connect(context)
  const wanted = context.invocation.args.map(text => {
    const match = /^([^=]+)=(\d{1,5})$/.exec(text)
    if (match?.[1] !== undefined && match[2] !== undefined) {
      return { ref: serviceRef(match[1], settings.project), replicas: Number(match[2]) }
    }
    throw new Trouble({
      status: exitStatus.usage,
      what: `${text} does not say what to scale`,
      why: 'it must be a service, an equals sign and a whole number',
      next: 'boxcar scale web=3',
    })
  })
  const saved = []
  for (const { ref, replicas } of wanted) {
    const before = (await api.service(ref)).replicas
    const it = await api.patch(ref, { replicas }, { actor })
    context.terminal.err.write(
      `${it.service.service}: ${before} → ${plural(it.service.replicas, 'replica')}\n`,
    )
    saved.push(it)
  }
  await printList(context, saved, {
    columns: [
      { head: 'SERVICE', of: it => it.service.service },
      { head: 'REPLICAS', of: it => String(it.service.replicas), align: 'right' },
      { head: 'READY', of: it => String(it.service.ready), align: 'right' },
    ],
    nameOf: it => it.service.service,
    none: '',
  })
  return exitStatus.done
}
