/** One entry of an archive; folders above it are made as needed by whoever unpacks it. */
export type TarEntry =
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly content: Buffer }
  | { readonly kind: 'folder'; readonly path: string; readonly mode: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }

/**
 * An archive in the ustar form, in pieces, without a copy of the files' contents. The same entries give the same
 * bytes, and so the same digest: all times are 0 and all owners root.
 */
export function tar(entries: readonly TarEntry[]): readonly Buffer[] {
  const pieces = entries.flatMap(entry => {
    if (entry.kind !== 'file') return [header(entry)]
    const rest = entry.content.length % block
    return [header(entry), entry.content, ...(rest === 0 ? [] : [Buffer.alloc(block - rest)])]
  })
  return [...pieces, Buffer.alloc(2 * block)]
}

const block = 512

function header(entry: TarEntry): Buffer {
  const head = Buffer.alloc(block)
  const path = entry.path.replace(/^\//, '') + (entry.kind === 'folder' ? '/' : '')
  if (Buffer.byteLength(path) > 100) throw new RangeError(`"${path}" is too long a path for this archive`)
  head.write(path, 0)
  head.write(octal(entry.kind === 'link' ? 0o777 : entry.mode, 7), 100)
  head.write(octal(0, 7), 108)
  head.write(octal(0, 7), 116)
  head.write(octal(entry.kind === 'file' ? entry.content.length : 0, 11), 124)
  head.write(octal(0, 11), 136)
  head.write(' '.repeat(8), 148)
  head.write({ file: '0', link: '2', folder: '5' }[entry.kind], 156)
  if (entry.kind === 'link') head.write(entry.target, 157, 100)
  head.write('ustar\u000000', 257)
  // The sum counts its own field as eight blanks.
  const sum = head.reduce((total, byte) => total + byte, 0)
  head.write(`${octal(sum, 6)}\0 `, 148)
  return head
}

const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0')
