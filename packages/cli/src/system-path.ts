import { delimiter } from 'node:path'

const rootFolders = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/**
 * A PATH on which root's programs are found as well, last. HAProxy is one of them on Debian, needs no root, and a plain
 * user's PATH lacks their folders.
 */
export function systemPath(path = ''): string {
  const folders = path.split(delimiter).filter(folder => folder !== '')
  return [...folders, ...rootFolders.filter(folder => !folders.includes(folder))].join(delimiter)
}
