/**
 * Data as YAML that reads back as the same data: with `parseYamlText`, and with readers of YAML 1.1, to which a bare `yes` or
 * `1:30` is no text.
 */
import { Document, isScalar, Scalar, visit } from 'yaml'

export function yamlOf(data: unknown): string {
  const document = new Document(data, { schema: 'core', compat: 'yaml-1.1', aliasDuplicateObjects: false })
  visit(document, {
    Pair(_, { key }) {
      // A bare << merges; the package does not quote it by itself.
      if (isScalar(key) && key.value === '<<') key.type = Scalar.QUOTE_DOUBLE
    },
  })
  return document.toString()
}
