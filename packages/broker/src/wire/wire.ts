import { createRequire } from 'node:module';

/**
 * google.pubsub.v1 and the IAM mixin, as types and methods that know each other. Both codecs and both servers are driven by
 * it; `pubsub-v1.json` is made by `scripts/describe-wire.ts` from Google's client, and a test keeps it so.
 */
export interface MessageType {
  readonly kind: 'message';
  /** In full, without a dot before it. */
  readonly name: string;
  readonly fields: readonly Field[];
  /** By their names in JSON, camelCase and snake_case. */
  readonly byName: ReadonlyMap<string, Field>;
}

export interface EnumType {
  readonly kind: 'enum';
  readonly name: string;
  readonly numbers: ReadonlyMap<string, number>;
  readonly names: ReadonlyMap<number, string>;
}

export type Scalar = 'string' | 'bytes' | 'bool' | 'int32' | 'int64' | 'double';

export interface Field {
  /** As in JSON: camelCase. */
  readonly name: string;
  readonly snakeName: string;
  readonly id: number;
  readonly type: Scalar | MessageType | EnumType;
  readonly repeated: boolean;
  /** A map from strings. */
  readonly map: boolean;
  /** Of its fields at most one is set. */
  readonly oneof: string | undefined;
}

export interface Method {
  /** As Google writes it: `CreateTopic`. */
  readonly name: string;
  /** In full: `google.pubsub.v1.Publisher`. */
  readonly service: string;
  readonly request: MessageType;
  readonly response: MessageType;
  readonly streams: boolean;
  /** `body`: `*`, or the field that the body is. */
  readonly http: readonly { readonly verb: string; readonly path: string; readonly body: string | undefined }[];
}

interface Node {
  readonly fields?: Record<string, { type: string; id: number; rule?: string; keyType?: string }>;
  readonly oneofs?: Record<string, { oneof: string[] }>;
  readonly values?: Record<string, number>;
  readonly methods?: Record<string, MethodNode>;
  readonly nested?: Record<string, Node>;
}

interface MethodNode {
  readonly requestType: string;
  readonly responseType: string;
  readonly requestStream?: boolean;
  readonly options?: { readonly http: readonly Record<string, string>[] };
}

const scalars: readonly string[] = ['string', 'bytes', 'bool', 'int32', 'int64', 'double'] satisfies Scalar[];
const root: Node = createRequire(import.meta.url)('./pubsub-v1.json');
const types = new Map<string, MessageType | EnumType>();

/** @throws Error where the wire knows no such message */
export function messageType(name: string): MessageType {
  const found = resolve(name, []);
  if (typeof found === 'string' || found.kind !== 'message') throw new Error(`${name} is no message`);
  return found;
}

export const methods: readonly Method[] = [
  'google.pubsub.v1.Publisher',
  'google.pubsub.v1.Subscriber',
  'google.pubsub.v1.SchemaService',
  'google.iam.v1.IAMPolicy',
].flatMap((service) => {
  const scope = service.split('.').slice(0, -1);
  return Object.entries(nodeAt(service.split('.'))!.methods!).map(([name, method]) => ({
    name,
    service,
    request: resolve(method.requestType, scope) as MessageType,
    response: resolve(method.responseType, scope) as MessageType,
    streams: method.requestStream ?? false,
    http: (method.options?.http ?? []).map(({ body, ...rule }) => {
      const [[verb, path]] = Object.entries(rule) as [[string, string]];
      return { verb: verb.toUpperCase(), path, body };
    }),
  }));
});

function nodeAt(path: readonly string[]): Node | undefined {
  return path.reduce<Node | undefined>((node, name) => node?.nested?.[name], root);
}

/** A type by its name as seen from a scope: the innermost that has it. */
function resolve(name: string, scope: readonly string[]): Scalar | MessageType | EnumType {
  if (scalars.includes(name)) return name as Scalar;
  for (let length = scope.length; length >= 0; length--) {
    const path = [...scope.slice(0, length), ...name.split('.')];
    const node = nodeAt(path);
    if (node?.fields || node?.values) return typeOf(node, path);
  }
  throw new Error(`the wire has no type ${name}`);
}

function typeOf({ fields, values, oneofs }: Node, path: readonly string[]): MessageType | EnumType {
  const name = path.join('.');
  const known = types.get(name);
  if (known) return known;
  if (values) {
    const numbers = new Map(Object.entries(values));
    const names = new Map([...numbers].map(([text, number]) => [number, text]));
    const type: EnumType = { kind: 'enum', name, numbers, names };
    types.set(name, type);
    return type;
  }
  const list: Field[] = [];
  const byName = new Map<string, Field>();
  const type: MessageType = { kind: 'message', name, fields: list, byName };
  // Before its fields: google.protobuf.Struct holds itself.
  types.set(name, type);
  for (const [fieldName, { type: of, id, rule, keyType }] of Object.entries(fields!)) {
    const field: Field = {
      name: fieldName,
      snakeName: fieldName.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      id,
      type: resolve(of, path),
      repeated: rule === 'repeated',
      map: keyType !== undefined,
      oneof: Object.entries(oneofs ?? {}).find(([, { oneof }]) => oneof.includes(fieldName))?.[0],
    };
    list.push(field);
    byName.set(field.name, field);
    byName.set(field.snakeName, field);
  }
  return type;
}
