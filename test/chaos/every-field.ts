import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export interface RestCall {
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

const description = join(import.meta.dirname, '../../packages/broker/src/wire/pubsub-v1.json');
const root = protobuf.Root.fromJSON(JSON.parse(readFileSync(description, 'utf8'))).resolveAll();
const services = [
  'google.pubsub.v1.Publisher',
  'google.pubsub.v1.Subscriber',
  'google.pubsub.v1.SchemaService',
  'google.iam.v1.IAMPolicy',
];

/** What no field takes all of. */
const odd: readonly Json[] = [
  null,
  true,
  -1,
  0.5,
  1e308,
  '',
  'x',
  '\ud800',
  '-9223372036854775809',
  [],
  {},
  [null, [0]],
  { '': { '': [] } },
];
const deepest = 4;

/** Every odd value in the place of every field of every request, by the wire's own description. */
export function* everyFieldWrong(project: string): Generator<RestCall> {
  for (const service of services) {
    for (const { name, options, resolvedRequestType } of root.lookupService(service).methodsArray) {
      const [rule] = (options?.http ?? []) as Record<string, string>[];
      if (!rule) continue;
      const [method, template] = Object.entries(rule).find(([verb]) => verb !== 'body')!;
      const path = template.replace(/\{[^}]*?([^=}]*)\}/g, (_all, pattern: string) => resourceOf(pattern, project));
      for (const body of bodies(resolvedRequestType!, 0)) {
        const inner = rule.body && rule.body !== '*' ? (body as Record<string, Json>)[rule.body] : body;
        if (inner === undefined) continue;
        // Without a subscription of its own a pull that is taken would wait.
        const whole = name === 'Pull' ? { returnImmediately: true, maxMessages: 1, ...(body as object) } : inner;
        const query = ['get', 'delete'].includes(method)
          ? `?${new URLSearchParams(whole as Record<string, string>)}`
          : '';
        yield { method: method.toUpperCase(), path: path + query, body: JSON.stringify(whole) };
      }
    }
  }
}

/** Requests that are right, but for their names. */
export const samples: readonly { readonly path: string; readonly body: Json }[] = [
  {
    path: '/v1/PROJECT/topics/odd-topics:publish',
    body: { messages: [{ data: 'e30=', attributes: { a: 'b' }, orderingKey: 'k' }] },
  },
  { path: '/v1/PROJECT/subscriptions/odd-subscriptions:acknowledge', body: { ackIds: ['YWNrIDE'] } },
  {
    path: '/v1/PROJECT/subscriptions/odd-subscriptions:modifyAckDeadline',
    body: { ackIds: ['YWNrIDE'], ackDeadlineSeconds: 10 },
  },
  { path: '/v1/PROJECT/subscriptions/odd-subscriptions:seek', body: { time: '2026-01-01T00:00:00Z' } },
  { path: '/v1/PROJECT/subscriptions/odd-subscriptions:modifyPushConfig', body: { pushConfig: {} } },
  {
    path: '/v1/PROJECT/schemas:validateMessage',
    body: {
      schema: { type: 'AVRO', definition: '{"type":"record","name":"R","fields":[]}' },
      message: 'e30=',
      encoding: 'JSON',
    },
  },
  {
    path: '/v1/PROJECT/schemas:validate',
    body: { schema: { type: 'PROTOCOL_BUFFER', definition: 'syntax = "proto3"; message M { string a = 1; }' } },
  },
  {
    path: '/v1/PROJECT/topics/odd-topics:setIamPolicy',
    body: { policy: { bindings: [{ role: 'roles/viewer', members: ['user:a@example.com'] }], etag: 'ACAB' } },
  },
];

function resourceOf(pattern: string, project: string): string {
  const name = pattern.replace('projects/*', project);
  return name.replace(/\*/g, () => `odd-${name.split('/').at(-2)}`);
}

/** Messages with one thing wrong in each. */
function* bodies(type: protobuf.Type, depth: number): Generator<Json> {
  for (const field of type.fieldsArray) {
    for (const value of odd) yield { [field.name]: value };
    const inner =
      field.resolvedType instanceof protobuf.Type && depth < deepest ? bodies(field.resolvedType, depth + 1) : [];
    for (const value of inner) {
      if (field instanceof protobuf.MapField) yield { [field.name]: { key: value } };
      else yield { [field.name]: field.repeated ? [value] : value };
    }
  }
}
