import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** protobufjs' JSON form of a namespace, as Google's clients carry it. */
interface Node {
  options?: Record<string, unknown>;
  oneofs?: Record<string, { oneof: string[] }>;
  fields?: Record<string, { type: string; id: number; rule?: string; keyType?: string }>;
  values?: Record<string, number>;
  methods?: Record<string, Method>;
  nested?: Record<string, Node>;
}

interface Method {
  requestType: string;
  responseType: string;
  requestStream?: boolean;
  responseStream?: boolean;
  options?: Record<string, unknown>;
}

const roots = [
  'google.pubsub.v1.Publisher',
  'google.pubsub.v1.Subscriber',
  'google.pubsub.v1.SchemaService',
  'google.iam.v1.IAMPolicy',
  'google.rpc.Status',
  'google.rpc.BadRequest',
  'google.rpc.ErrorInfo',
];

/** What `pubsub_v1.yaml` says of the mixin. Its own proto serves `**` by POST alone, and so do Google's clients over REST. */
const kinds = ['topics', 'subscriptions', 'snapshots', 'schemas'];
const ofMixin = (verb: string, method: 'get' | 'post') =>
  kinds.map((kind) => ({
    [method]: `/v1/{resource=projects/*/${kind}/*}:${verb}`,
    ...(method === 'post' && { body: '*' }),
  }));
const mixin: Record<string, unknown[]> = {
  GetIamPolicy: [...ofMixin('getIamPolicy', 'get'), ...ofMixin('getIamPolicy', 'post')],
  SetIamPolicy: ofMixin('setIamPolicy', 'post'),
  TestIamPermissions: ofMixin('testIamPermissions', 'post'),
};

/** What the broker serves, and every type it needs, from the files of Google's own client. */
export function describeWire(): Node {
  const client = dirname(createRequire(import.meta.url).resolve('@google-cloud/pubsub/package.json'));
  const gax = join(dirname(createRequire(join(client, 'package.json')).resolve('google-gax')), '../..');
  const read = (path: string): Node => JSON.parse(readFileSync(path, 'utf8'));
  const sources = [
    read(join(client, 'build/protos/protos.json')),
    read(join(gax, 'build/protos/iam_service.json')),
    read(join(gax, 'build/protos/status.json')),
  ];
  const find = (path: readonly string[]): Node | undefined => {
    for (const source of sources) {
      const found = path.reduce<Node | undefined>((node, name) => node?.nested?.[name], source);
      if (found && (found.fields || found.values || found.methods)) return found;
    }
    return undefined;
  };

  const found = new Map<string, Node>();
  const add = (name: string): void => {
    if (found.has(name)) return;
    const { fields, values, methods, oneofs } = find(name.split('.'))!;
    const node: Node = {};
    found.set(name, node);
    const resolve = (type: string): void => {
      for (let scope = name.split('.'); ; scope = scope.slice(0, -1)) {
        const path = [...scope, ...type.split('.')];
        const isFound = find(path) !== undefined;
        if (isFound) add(path.join('.'));
        if (isFound || scope.length === 0) return;
      }
    };
    if (oneofs) node.oneofs = oneofs;
    for (const [field, { type, id, rule, keyType }] of Object.entries(fields ?? {})) {
      node.fields ??= {};
      const camel = field.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
      node.fields[camel] = { ...(rule && { rule }), ...(keyType && { keyType }), type, id };
      resolve(type);
    }
    if (fields) node.fields ??= {};
    if (values) node.values = values;
    for (const [method, { requestType, responseType, requestStream, responseStream, options }] of Object.entries(
      methods ?? {},
    )) {
      node.methods ??= {};
      const http = mixin[method] ?? httpOf(options ?? {});
      node.methods[method] = {
        requestType,
        responseType,
        ...(requestStream && { requestStream }),
        ...(responseStream && { responseStream }),
        ...(http.length > 0 && { options: { http } }),
      };
      resolve(requestType);
      resolve(responseType);
    }
  };
  for (const root of roots) add(root);

  const tree: Node = {};
  for (const name of [...found.keys()].sort()) {
    let parent = tree;
    const path = name.split('.');
    for (const part of path.slice(0, -1)) {
      parent.nested ??= {};
      parent = parent.nested[part] ??= {};
    }
    parent.nested ??= {};
    parent.nested[path.at(-1)!] = { ...found.get(name), ...parent.nested[path.at(-1)!] };
  }
  return tree;
}

function httpOf(options: Record<string, unknown>): unknown[] {
  const rule: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    const part = /^\(google\.api\.http\)\.(get|put|post|patch|delete|body)$/.exec(name)?.[1];
    if (part) rule[part] = value;
  }
  return Object.keys(rule).length > 0 ? [rule] : [];
}

if (process.argv[1] === import.meta.filename) {
  const path = join(import.meta.dirname, '../src/wire/pubsub-v1.json');
  writeFileSync(path, `${JSON.stringify(describeWire(), null, 1)}\n`);
}
