import { describe, expect, test } from 'vitest';
import { refuses, resource } from './pubsub-suite.ts';
import type { Json, PubsubWire } from './pubsub-wire.ts';

/** A Pub/Sub server under test that can be started again over what it keeps. */
export interface RestartableServer extends AsyncDisposable {
  readonly wire: PubsubWire;
  restart(): Promise<void>;
}

const project = 'projects/test';
const avro = { type: 'AVRO', definition: recordOf(['id', 'string'], ['count', 'int']) };
const protobuf = {
  type: 'PROTOCOL_BUFFER',
  definition: 'syntax = "proto3"; message Order { string id = 1; int32 count = 2; }',
};

/** Schemas, whatever the wire. Source: google.pubsub.v1 SchemaService, and cloud.google.com/pubsub/docs/schemas. */
export function schemaSuite(name: string, open: () => Promise<RestartableServer>): void {
  describe(`Pub/Sub’s schemas: ${name}`, () => {
    test('a schema is made, told, listed and deleted', async () => {
      await using server = await open();
      const { wire } = server;
      const schema = await create(wire, avro);
      expect(schema).toMatchObject(avro);
      expect(schema.revisionId).toMatch(/^[0-9a-f]{8}$/);
      expect(Math.abs(Date.parse(schema.revisionCreateTime) - Date.now())).toBeLessThan(60_000);
      expect(await wire.call('GetSchema', { name: schema.name })).toEqual(schema);
      expect(await wire.call('GetSchema', { name: `${schema.name}@${schema.revisionId}`, view: 'FULL' })).toEqual(
        schema,
      );
      const { definition, ...basic } = schema;
      expect(await wire.call('GetSchema', { name: schema.name, view: 'BASIC' })).toEqual(basic);
      const other = await create(wire, protobuf);
      const named = ({ name: each }: Json) => each;
      const { schemas } = (await wire.call('ListSchemas', { parent: project })) as { schemas: Json[] };
      expect(schemas.map(named)).toEqual([schema.name, other.name].toSorted());
      expect(schemas.some((each) => 'definition' in each)).toBe(false);
      const first = await wire.call('ListSchemas', { parent: project, view: 'FULL', pageSize: 1 });
      const pageToken = first.nextPageToken as string;
      const second = await wire.call('ListSchemas', { parent: project, view: 'FULL', pageSize: 1, pageToken });
      expect([...(first.schemas as Json[]), ...(second.schemas as Json[])]).toEqual(
        [schema, other].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      );
      expect(await wire.call('DeleteSchema', { name: schema.name })).toEqual({});
      await refuses(wire.call('GetSchema', { name: schema.name }), 'NOT_FOUND', schema.name);
      await refuses(wire.call('DeleteSchema', { name: schema.name }), 'NOT_FOUND', schema.name);
    });

    test('a name that is taken, a name that is none and a definition too long are refused', async () => {
      await using server = await open();
      const { wire } = server;
      const { name } = await create(wire, avro);
      const createAs = (schemaId: string, schema: Json) =>
        wire.call('CreateSchema', { parent: project, schemaId, schema });
      await refuses(createAs(name.split('/').at(-1)!, avro), 'ALREADY_EXISTS', name);
      await refuses(createAs('goog-x', avro), 'INVALID_ARGUMENT', 'goog-x');
      const long = { type: 'AVRO', definition: JSON.stringify({ type: 'string', doc: 'x'.repeat(310_000) }) };
      await refuses(createAs('long', long), 'INVALID_ARGUMENT', '307200');
      await refuses(createAs('none', { definition: '"string"' }), 'INVALID_ARGUMENT', 'AVRO or PROTOCOL_BUFFER');
    });

    test.each([
      ['AVRO', '{"type":"record","name":"R"', 'JSON'],
      [
        'AVRO',
        '{"type":"record","name":"R","fields":[{"name":"a","type":"Missing"}]}',
        'a: there is no type "Missing"',
      ],
      ['AVRO', '["int","int"]', 'twice'],
      ['PROTOCOL_BUFFER', 'syntax = "proto3"; message A { string a = ; }', 'illegal'],
      ['PROTOCOL_BUFFER', 'syntax = "proto3"; message A { B b = 1; }', 'B'],
      ['PROTOCOL_BUFFER', 'syntax = "proto3"; message A {} message B {}', 'A, B'],
      [
        'PROTOCOL_BUFFER',
        'syntax = "proto3"; import "google/protobuf/any.proto"; message A { int32 a = 1; }',
        'google/protobuf/any.proto',
      ],
    ])('the %s definition %j is refused', async (type, definition, because) => {
      await using server = await open();
      const validated = server.wire.call('ValidateSchema', {
        parent: project,
        schema: { name: 'x', type, definition },
      });
      await refuses(validated, 'INVALID_ARGUMENT', because);
      const schema = { type, definition };
      const created = server.wire.call('CreateSchema', { parent: project, schemaId: 'bad', schema });
      await refuses(created, 'INVALID_ARGUMENT', because);
      await refuses(server.wire.call('GetSchema', { name: `${project}/schemas/bad` }), 'NOT_FOUND', 'bad');
    });

    test('a message is looked at by a schema that is given, or one that is kept', async () => {
      await using server = await open();
      const { wire } = server;
      const { name } = await create(wire, protobuf);
      const validate = (by: Json, encoding: string, message: Buffer) =>
        wire.call('ValidateMessage', { parent: project, ...by, encoding, message: message.toString('base64') });
      const good = Buffer.from('{"id":"a","count":1}');
      expect(await validate({ schema: { name: 'x', ...avro } }, 'JSON', good)).toEqual({});
      expect(await validate({ name }, 'JSON', good)).toEqual({});
      expect(await validate({ name }, 'BINARY', Buffer.from([0x0a, 1, 0x61, 0x10, 1]))).toEqual({});
      await refuses(validate({ name }, 'BINARY', good), 'INVALID_ARGUMENT', 'Message failed schema validation');
      const refused = validate({ schema: { name: 'x', ...avro } }, 'JSON', Buffer.from('{"id":"a"}'));
      await refuses(refused, 'INVALID_ARGUMENT', 'count: it is missing');
      await refuses(validate({ name }, 'ENCODING_UNSPECIFIED', good), 'INVALID_ARGUMENT', 'encoding');
      await refuses(validate({ name: `${name}x` }, 'JSON', good), 'NOT_FOUND', `${name}x`);
    });

    test('revisions are committed, listed oldest first, rolled back to, and deleted but for the last', async () => {
      await using server = await open();
      const { wire } = server;
      const first = await create(wire, avro);
      const { name } = first;
      const wider = { ...avro, definition: recordOf(['id', 'string'], ['count', 'int'], ['note', 'string', '']) };
      const second = (await wire.call('CommitSchema', { name, schema: { name, ...wider } })) as unknown as Schema;
      expect(second).toMatchObject({ name, ...wider });
      expect(second.revisionId).not.toBe(first.revisionId);
      expect(await wire.call('GetSchema', { name })).toEqual(second);
      expect(await wire.call('GetSchema', { name: `${name}@${first.revisionId}` })).toEqual(first);
      const third = await wire.call('RollbackSchema', { name, revisionId: first.revisionId });
      expect(third).toMatchObject({ name, definition: first.definition });
      expect(third.revisionId).not.toBe(first.revisionId);
      const list = async (request: Json) =>
        (await wire.call('ListSchemaRevisions', { name, ...request })) as unknown as Listed;
      expect((await list({ view: 'FULL' })).schemas).toEqual([first, second, third]);
      const { nextPageToken: pageToken = '', schemas } = await list({ pageSize: 2 });
      expect(schemas.map(({ revisionId }) => revisionId)).toEqual([first.revisionId, second.revisionId]);
      expect((await list({ pageSize: 2, pageToken, view: 'FULL' })).schemas).toEqual([third]);

      expect(await wire.call('DeleteSchemaRevision', { name: `${name}@${first.revisionId}` })).toMatchObject(first);
      await refuses(wire.call('GetSchema', { name: `${name}@${first.revisionId}` }), 'NOT_FOUND', first.revisionId);
      await refuses(wire.call('RollbackSchema', { name, revisionId: first.revisionId }), 'NOT_FOUND', first.revisionId);
      await refuses(wire.call('DeleteSchemaRevision', { name }), 'INVALID_ARGUMENT', '@');
      await wire.call('DeleteSchemaRevision', { name: `${name}@${third.revisionId}` });
      expect(await wire.call('GetSchema', { name })).toEqual(second);
      const last = wire.call('DeleteSchemaRevision', { name: `${name}@${second.revisionId}` });
      await refuses(last, 'INVALID_ARGUMENT', 'last revision');
    });

    test('a schema has up to twenty revisions; for more, one must go', async () => {
      await using server = await open();
      const { wire } = server;
      const { name, revisionId } = await create(wire, avro);
      for (let count = 2; count <= 20; count++) await wire.call('RollbackSchema', { name, revisionId });
      await refuses(
        wire.call('CommitSchema', { name, schema: { name, ...avro } }),
        'FAILED_PRECONDITION',
        '20 revisions',
      );
      await wire.call('DeleteSchemaRevision', { name: `${name}@${revisionId}` });
      await wire.call('CommitSchema', { name, schema: { name, ...avro } });
    });

    test('a revision keeps the type, and is compatible with each one before it', async () => {
      await using server = await open();
      const { wire } = server;
      const commit = (name: string, schema: Json) => wire.call('CommitSchema', { name, schema: { name, ...schema } });
      const { name, revisionId } = await create(wire, avro);
      await refuses(commit(name, protobuf), 'INVALID_ARGUMENT', 'AVRO');
      const other = { ...avro, definition: recordOf(['id', 'string'], ['count', 'string']) };
      await refuses(
        commit(name, other),
        'INVALID_ARGUMENT',
        `incompatible with previous revision: ${revisionId}. count`,
      );
      const message = (fields: string) => ({
        ...protobuf,
        definition: `syntax = "proto3"; message Order { ${fields} }`,
      });
      const { name: ofProtobuf, revisionId: withCount } = await create(wire, protobuf);
      await commit(ofProtobuf, message('string id = 1;'));
      const reused = commit(ofProtobuf, message('string id = 1; string count = 2;'));
      await refuses(
        reused,
        'INVALID_ARGUMENT',
        `previous revision: ${withCount}. count: string is not compatible with int32`,
      );
    });

    test.each([
      ['AVRO', 'JSON', avro, Buffer.from('{"id":"a","count":1}'), Buffer.from('{"id":"a","count":"1"}')],
      ['AVRO', 'BINARY', avro, Buffer.from([2, 0x61, 2]), Buffer.from([2, 0x61, 2, 0])],
      ['PROTO', 'JSON', protobuf, Buffer.from('{"id":"a","count":1}'), Buffer.from('{"id":"a","amount":1}')],
      ['PROTO', 'BINARY', protobuf, Buffer.from([0x0a, 1, 0x61, 0x10, 1]), Buffer.from([0x0a, 1, 0x61, 0x18, 1])],
    ])('a topic takes %s messages in %s, and all of a publish or none', async (kind, encoding, schema, good, bad) => {
      await using server = await open();
      const { wire } = server;
      const { name, revisionId } = await create(wire, schema);
      const { topic, subscription } = await topicWith(wire, { schema: name, encoding });
      const publish = (...data: Buffer[]) => wire.call('Publish', { topic, messages: data.map(published) });
      const refused = await publish(good, bad).catch((error) => error);
      expect(refused).toMatchObject({
        status: 'INVALID_ARGUMENT',
        message: expect.stringMatching(/^Invalid data in message: Message failed schema validation\. messages\[1\]: /),
        details: [
          {
            reason: `INVALID_${encoding}_${kind}_MESSAGE`,
            domain: 'pubsub.googleapis.com',
            metadata: {
              message: 'Message failed schema validation',
              revisionInfo: expect.stringContaining(
                `last checked revision: revision_id=${revisionId} failed with status`,
              ),
            },
          },
        ],
      });
      await publish(good);
      expect(await pulled(wire, subscription)).toEqual([
        {
          data: good.toString('base64'),
          attributes: {
            mine: 'kept',
            googclient_schemaencoding: encoding,
            googclient_schemaname: name,
            googclient_schemarevisionid: revisionId,
          },
        },
      ]);
    });

    test('what the broker says of the schema counts as none of the hundred attributes', async () => {
      await using server = await open();
      const { wire } = server;
      const { name } = await create(wire, avro);
      const { topic } = await topicWith(wire, { schema: name, encoding: 'JSON' });
      const publish = (count: number) => {
        const attributes = Object.fromEntries(Array.from({ length: count }, (_each, index) => [`a${index}`, 'b']));
        const data = Buffer.from('{"id":"a","count":1}').toString('base64');
        return wire.call('Publish', { topic, messages: [{ data, attributes }] });
      };
      await publish(100);
      await refuses(publish(101), 'INVALID_ARGUMENT', 'attributes');
    });

    test('a message is taken by the newest revision it fits, of those between the topic’s first and last', async () => {
      await using server = await open();
      const { wire } = server;
      const { name, revisionId: first } = await create(wire, avro);
      const definition = recordOf(['id', 'string'], ['count', 'int'], ['note', 'string', '']);
      const { revisionId: second } = await wire.call('CommitSchema', { name, schema: { name, ...avro, definition } });
      const { topic, subscription } = await topicWith(wire, { schema: name, encoding: 'JSON' });
      const short = Buffer.from('{"id":"a","count":1}');
      const wide = Buffer.from('{"id":"a","count":1,"note":""}');
      const publish = (data: Buffer) => wire.call('Publish', { topic, messages: [published(data)] });
      const revisions = async () =>
        (await pulled(wire, subscription)).map(({ attributes }) => attributes.googclient_schemarevisionid);
      const limit = (settings: Json, updateMask: string) =>
        wire.call('UpdateTopic', { topic: { name: topic, schemaSettings: settings }, updateMask });
      await publish(short);
      await publish(wide);
      expect(await revisions()).toEqual([first, second]);
      await limit({ lastRevisionId: first }, 'schema_settings.last_revision_id');
      await publish(short);
      expect(await revisions()).toEqual([first]);
      await refuses(publish(wide), 'INVALID_ARGUMENT', 'note');
      const exchanged = limit({ firstRevisionId: second }, 'schema_settings.first_revision_id');
      await refuses(exchanged, 'INVALID_ARGUMENT', 'newer');
      await refuses(limit({ lastRevisionId: '00000000' }, 'schemaSettings.lastRevisionId'), 'NOT_FOUND', '00000000');
      // The first that is gone: from the next on.
      const settings = { schema: name, encoding: 'JSON', firstRevisionId: first };
      expect(await limit(settings, 'schema_settings')).toMatchObject({ schemaSettings: settings });
      await wire.call('DeleteSchemaRevision', { name: `${name}@${first}` });
      await refuses(publish(short), 'INVALID_ARGUMENT', 'note');
      await publish(wide);
      expect(await revisions()).toEqual([second]);
    });

    test('a topic whose schema was deleted says so and takes no message, also when the name comes again', async () => {
      await using server = await open();
      const { wire } = server;
      const schema = await create(wire, avro);
      const { topic } = await topicWith(wire, { schema: schema.name, encoding: 'JSON' });
      await wire.call('DeleteSchema', { name: schema.name });
      const deleted = {
        name: topic,
        schemaSettings: { schema: '_deleted-schema_', encoding: 'JSON' },
        state: 'ACTIVE',
      };
      const publish = () => wire.call('Publish', { topic, messages: [published(Buffer.from('{"id":"a","count":1}'))] });
      const schemaId = schema.name.split('/').at(-1);
      await wire.call('CreateSchema', { parent: project, schemaId, schema: avro });
      expect(await wire.call('GetTopic', { topic })).toEqual(deleted);
      await refuses(publish(), 'NOT_FOUND', 'Schema associated with topic deleted.');
      const labelled = { topic: { name: topic, labels: { a: 'b' } }, updateMask: 'labels' };
      expect(await wire.call('UpdateTopic', labelled)).toEqual({ ...deleted, labels: { a: 'b' } });
      await refuses(publish(), 'NOT_FOUND', 'deleted');
      const schemaSettings = { schema: schema.name, encoding: 'JSON' };
      await wire.call('UpdateTopic', { topic: { name: topic, schemaSettings }, updateMask: 'schema_settings' });
      await publish();
      await wire.call('UpdateTopic', { topic: { name: topic }, updateMask: 'schema_settings' });
      expect(await wire.call('GetTopic', { topic })).toEqual({ name: topic, labels: { a: 'b' }, state: 'ACTIVE' });
      await wire.call('Publish', { topic, messages: [published(Buffer.from('anything'))] });
    });

    test('a topic is refused a schema that is not there, and settings without encoding', async () => {
      await using server = await open();
      const { wire } = server;
      const { name: schema } = await create(wire, avro);
      const make = (schemaSettings: Json) => wire.call('CreateTopic', { name: resource('topics'), schemaSettings });
      await refuses(make({ schema: `${schema}x`, encoding: 'JSON' }), 'NOT_FOUND', `${schema}x`);
      await refuses(make({ schema: '_deleted-schema_', encoding: 'JSON' }), 'NOT_FOUND', '_deleted-schema_');
      await refuses(make({ schema }), 'INVALID_ARGUMENT', 'encoding');
      await refuses(make({ encoding: 'JSON' }), 'INVALID_ARGUMENT', 'need a schema');
    });

    test('a schema has an IAM policy, which goes with it', async () => {
      await using server = await open();
      const { wire } = server;
      const { name: resourceName } = await create(wire, avro);
      const bindings = [{ role: 'roles/pubsub.viewer', members: ['user:a@example.com'] }];
      await wire.call('SetIamPolicy', { resource: resourceName, policy: { bindings } });
      expect(await wire.call('GetIamPolicy', { resource: resourceName })).toMatchObject({ bindings });
      await wire.call('DeleteSchema', { name: resourceName });
      await refuses(wire.call('GetIamPolicy', { resource: resourceName }), 'NOT_FOUND', resourceName);
      await wire.call('CreateSchema', { parent: project, schemaId: resourceName.split('/').at(-1), schema: avro });
      expect(await wire.call('GetIamPolicy', { resource: resourceName })).not.toHaveProperty('bindings');
    });

    test('schemas, their revisions and what topics have of them are there after a restart', async () => {
      await using server = await open();
      const kept = await create(server.wire, avro);
      const gone = await create(server.wire, protobuf);
      await server.wire.call('RollbackSchema', { name: kept.name, revisionId: kept.revisionId });
      const before = await server.wire.call('ListSchemaRevisions', { name: kept.name, view: 'FULL' });
      const settings = { schema: kept.name, encoding: 'JSON', lastRevisionId: kept.revisionId };
      const { topic, subscription } = await topicWith(server.wire, settings);
      const { topic: bereft } = await topicWith(server.wire, { schema: gone.name, encoding: 'JSON' });
      await server.wire.call('DeleteSchema', { name: gone.name });
      await server.restart();
      const { wire } = server;
      expect(await wire.call('ListSchemaRevisions', { name: kept.name, view: 'FULL' })).toEqual(before);
      expect(await wire.call('GetTopic', { topic })).toMatchObject({ schemaSettings: settings });
      expect(await wire.call('GetTopic', { topic: bereft })).toMatchObject({
        schemaSettings: { schema: '_deleted-schema_' },
      });
      const publish = (text: string) => wire.call('Publish', { topic, messages: [published(Buffer.from(text))] });
      await refuses(publish('{}'), 'INVALID_ARGUMENT', 'schema validation');
      await publish('{"id":"a","count":1}');
      const [message] = await pulled(wire, subscription);
      expect(message!.attributes.googclient_schemarevisionid).toBe(kept.revisionId);
    });
  });
}

interface Schema extends Json {
  readonly name: string;
  readonly definition: string;
  readonly revisionId: string;
  readonly revisionCreateTime: string;
}

interface Listed {
  readonly schemas: readonly Json[];
  readonly nextPageToken?: string;
}

async function create(wire: PubsubWire, schema: Json): Promise<Schema> {
  const schemaId = resource('schemas').split('/').at(-1);
  return (await wire.call('CreateSchema', { parent: project, schemaId, schema })) as Schema;
}

async function topicWith(wire: PubsubWire, schemaSettings: Json): Promise<{ topic: string; subscription: string }> {
  const [topic, subscription] = [resource('topics'), resource('subscriptions')];
  expect(await wire.call('CreateTopic', { name: topic, schemaSettings })).toMatchObject({ schemaSettings });
  await wire.call('CreateSubscription', { name: subscription, topic });
  return { topic, subscription };
}

const published = (data: Buffer) => ({ data: data.toString('base64'), attributes: { mine: 'kept' } });

async function pulled(wire: PubsubWire, subscription: string) {
  const { receivedMessages = [] } = (await wire.call('Pull', { subscription, maxMessages: 10 })) as {
    receivedMessages?: { ackId: string; message: { data: string; attributes: Record<string, string> } }[];
  };
  const ackIds = receivedMessages.map(({ ackId }) => ackId);
  await wire.call('Acknowledge', { subscription, ackIds });
  return receivedMessages.map(({ message: { data, attributes } }) => ({ data, attributes }));
}

/** @param fields name, type, and default where there is one */
function recordOf(...fields: readonly (readonly [string, unknown, unknown?])[]): string {
  return JSON.stringify({
    type: 'record',
    name: 'Order',
    fields: fields.map(([name, type, fallback]) => ({ name, type, default: fallback })),
  });
}
