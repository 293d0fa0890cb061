import protobuf from 'protobufjs';
import { SchemaError } from './definition.ts';

/** Of messages, as protobuf's own parsers have it. */
export const maxDepth = 100;
const maxFieldNumber = 2 ** 29 - 1;

/** The one message a definition has at the top. @throws SchemaError */
export function readMessageType(text: string): protobuf.Type {
  // The parser would lose a field of that name.
  if (/\b__proto__\b/.test(text)) throw new SchemaError('"__proto__" is no name that can be used here; take another');
  let parsed: protobuf.IParserResult;
  try {
    parsed = protobuf.parse(text, { keepCase: true });
    parsed.root.resolveAll();
  } catch (cause) {
    throw new SchemaError((cause as Error).message, { cause });
  }
  const [imported] = [...(parsed.imports ?? []), ...(parsed.weakImports ?? [])];
  if (imported !== undefined) {
    throw new SchemaError(`it imports "${imported}"; a schema stands alone, so define that type within its message`);
  }
  const top = namedAtTop(parsed.root);
  const [first, second] = top;
  if (!(first instanceof protobuf.Type) || second) {
    const names = top.map(({ name }) => name).join(', ') || 'none';
    throw new SchemaError(
      `it must have one message at the top and nothing beside it, it has ${names}; nest the others`,
    );
  }
  checkNumbers(first);
  return first;
}

/** A package is a namespace and nothing else. */
function namedAtTop(namespace: protobuf.NamespaceBase): protobuf.ReflectionObject[] {
  return namespace.nestedArray.flatMap((each) => {
    const isPackage = each.constructor === protobuf.Namespace;
    return isPackage ? namedAtTop(each as protobuf.Namespace) : [each];
  });
}

function checkNumbers(type: protobuf.Type): void {
  for (const { name, id } of type.fieldsArray) {
    if (id >= 1 && id <= maxFieldNumber && !(id >= 19_000 && id <= 19_999)) continue;
    throw new SchemaError(`${name}: a field's number is 1 to ${maxFieldNumber}, without 19000 to 19999; got ${id}`);
  }
  for (const nested of type.nestedArray) if (nested instanceof protobuf.Type) checkNumbers(nested);
}

/** Of proto2 and by choice: only what it names is a value. */
export function isClosed(type: protobuf.Enum): boolean {
  return (type as unknown as { _features: { enum_type?: string } })._features.enum_type === 'CLOSED';
}
