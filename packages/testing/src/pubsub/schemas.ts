import { expect } from 'vitest';
import type { Json, WireError } from '../pubsub-wire.ts';
import { base64, type Pubsub, textsOf } from './pubsub.ts';
import { subject } from './subject.ts';

interface Schema extends Json {
  readonly name: string;
  readonly definition: string;
  readonly revisionId: string;
  readonly revisionCreateTime: string;
}

const avro = { type: 'AVRO', definition: recordOf(['id', 'string'], ['count', 'int']) };
const wider = { ...avro, definition: recordOf(['id', 'string'], ['count', 'int'], ['note', 'string', '']) };
const protobuf = orderOf('string id = 1; int32 count = 2;');
const good = base64('{"id":"a","count":1}');

/** Source: google.pubsub.v1 SchemaService, SchemaSettings, https://cloud.google.com/pubsub/docs/schemas */
export const schemas = subject('schemas', (fact) => {
  for (const [kind, given, gap] of [
    ['Avro', avro, [18]],
    ['protocol buffers', protobuf, [17]],
  ] as const) {
    fact(`a schema of ${kind} is made, told and deleted`, { gap }, async (pubsub) => {
      const { call, refuses } = pubsub;
      const schema = await create(pubsub, given);
      expect(schema).toMatchObject(given);
      expect(schema.revisionId).toMatch(/^[0-9a-f]{8}$/);
      expect(Math.abs(Date.parse(schema.revisionCreateTime) - pubsub.server.now())).toBeLessThan(60_000);
      const { name, definition, ...basic } = schema;
      expect(await call('GetSchema', { name })).toEqual(schema);
      expect(await call('GetSchema', { name: `${name}@${schema.revisionId}`, view: 'FULL' })).toEqual(schema);
      expect(await call('GetSchema', { name, view: 'BASIC' })).toEqual({ name, ...basic });
      expect(await call('DeleteSchema', { name })).toEqual({});
      await refuses('GetSchema', { name }, 'NOT_FOUND');
      await refuses('DeleteSchema', { name }, 'NOT_FOUND');
    });
  }

  fact('schemas are listed by name, without their definitions unless asked for', { gap: 42 }, async (pubsub) => {
    const { call, project: parent } = pubsub;
    const made = [await create(pubsub, avro), await create(pubsub, wider)].toSorted(byName);
    const list = async (request: Json) =>
      (await call('ListSchemas', { parent, ...request })) as { schemas: Json[]; nextPageToken?: string };
    expect((await list({})).schemas).toEqual(made.map(({ definition, ...basic }) => basic));
    const { schemas: first, nextPageToken: pageToken = '' } = await list({ view: 'FULL', pageSize: 1 });
    expect([...first, ...(await list({ view: 'FULL', pageSize: 1, pageToken })).schemas]).toEqual(made);
  });

  fact('a name that is taken or is none, and a definition without type, are refused', async (pubsub) => {
    const { name } = await create(pubsub, avro);
    const schemaId = name.split('/').at(-1);
    const request = { parent: pubsub.project, schemaId, schema: avro };
    await pubsub.refuses('CreateSchema', request, 'ALREADY_EXISTS');
    await pubsub.refuses('CreateSchema', { ...request, schemaId: 'goog-x' }, 'INVALID_ARGUMENT', 'goog-x');
    const untyped = { ...request, schemaId: 'none', schema: { definition: '"string"' } };
    await pubsub.refuses('CreateSchema', untyped, 'INVALID_ARGUMENT', 'type');
  });

  fact('a definition of more than 300 KB is refused', { gap: 22 }, async ({ refuses, project: parent }) => {
    const schema = { type: 'AVRO', definition: JSON.stringify({ type: 'string', doc: 'x'.repeat(310_000) }) };
    await refuses('CreateSchema', { parent, schemaId: 'long', schema }, 'INVALID_ARGUMENT', '307200');
  });

  for (const [definition, because] of [
    ['{"type":"record","name":"R"', 'JSON'],
    ['{"type":"record","name":"R","fields":[{"name":"a","type":"Missing"}]}', 'a: there is no type "Missing"'],
    ['["int","int"]', 'twice'],
    ['syntax = "proto3"; message A { string a = ; }', 'illegal'],
    ['syntax = "proto3"; message A { B b = 1; }', 'B'],
    ['syntax = "proto3"; message A {} message B {}', 'A, B'],
    ['syntax = "proto3"; import "google/protobuf/any.proto"; message A { int32 a = 1; }', 'google/protobuf/any.proto'],
  ] as const) {
    fact(
      `the definition ${definition} is refused with its reason`,
      { gap: 42 },
      async ({ refuses, project: parent }) => {
        const type = definition.startsWith('syntax') ? 'PROTOCOL_BUFFER' : 'AVRO';
        const schema = { name: `${parent}/schemas/bad`, type, definition };
        await refuses('ValidateSchema', { parent, schema }, 'INVALID_ARGUMENT', because);
        await refuses('CreateSchema', { parent, schemaId: 'bad', schema }, 'INVALID_ARGUMENT', because);
        await refuses('GetSchema', { name: schema.name }, 'NOT_FOUND');
      },
    );
  }

  fact('a message is looked at by a schema that is given, or one that is kept', async (pubsub) => {
    const { name } = await create(pubsub, avro);
    const request = (by: Json, encoding: string, message: string) => ({
      parent: pubsub.project,
      ...by,
      encoding,
      message,
    });
    const given = { schema: { name, ...avro } };
    for (const by of [given, { name }]) {
      expect(await pubsub.call('ValidateMessage', request(by, 'JSON', good))).toEqual({});
      expect(await pubsub.call('ValidateMessage', request(by, 'BINARY', base64(Buffer.from([2, 97, 2]))))).toEqual({});
      await pubsub.refuses('ValidateMessage', request(by, 'JSON', base64('{"id":"a"}')), 'INVALID_ARGUMENT');
      await pubsub.refuses('ValidateMessage', request(by, 'BINARY', base64('{')), 'INVALID_ARGUMENT');
      await pubsub.refuses('ValidateMessage', request(by, 'ENCODING_UNSPECIFIED', good), 'INVALID_ARGUMENT');
    }
    await pubsub.refuses('ValidateMessage', request({ name: `${name}x` }, 'JSON', good), 'NOT_FOUND');
  });

  fact('revisions are committed, listed oldest first, rolled back to, and deleted but for the last', async (pubsub) => {
    const { call, refuses } = pubsub;
    const first = await create(pubsub, avro);
    const { name } = first;
    const second = (await call('CommitSchema', { name, schema: { name, ...wider } })) as Schema;
    expect(second).toMatchObject({ name, ...wider });
    expect(second.revisionId).not.toBe(first.revisionId);
    expect(await call('GetSchema', { name })).toEqual(second);
    expect(await call('GetSchema', { name: `${name}@${first.revisionId}` })).toEqual(first);
    const third = (await call('RollbackSchema', { name, revisionId: first.revisionId })) as Schema;
    expect(third).toMatchObject({ name, definition: first.definition });
    expect(third.revisionId).not.toBe(first.revisionId);
    expect(await call('ListSchemaRevisions', { name, view: 'FULL' })).toEqual({ schemas: [first, second, third] });

    const at = ({ revisionId }: Schema) => ({ name: `${name}@${revisionId}` });
    expect(await call('DeleteSchemaRevision', at(first))).toMatchObject(first);
    await refuses('GetSchema', at(first), 'NOT_FOUND');
    await refuses('RollbackSchema', { name, revisionId: first.revisionId }, 'NOT_FOUND');
    await call('DeleteSchemaRevision', at(third));
    expect(await call('GetSchema', { name })).toEqual(second);
    await refuses('DeleteSchemaRevision', at(second), 'INVALID_ARGUMENT', 'last revision');
  });

  fact('revisions come in pages, each once', { gap: 42 }, async (pubsub) => {
    const { name, revisionId: first } = await create(pubsub, avro);
    const { revisionId: second } = await pubsub.call('RollbackSchema', { name, revisionId: first });
    const { revisionId: third } = await pubsub.call('RollbackSchema', { name, revisionId: first });
    const list = async (request: Json) =>
      (await pubsub.call('ListSchemaRevisions', { name, pageSize: 2, ...request })) as {
        schemas: Json[];
        nextPageToken?: string;
      };
    // Which one is to be deleted must be said.
    await pubsub.refuses('DeleteSchemaRevision', { name }, 'INVALID_ARGUMENT', '@REVISION');
    const { nextPageToken: pageToken = '', schemas } = await list({});
    expect(schemas.map(({ revisionId }) => revisionId)).toEqual([first, second]);
    expect((await list({ pageToken })).schemas).toMatchObject([{ revisionId: third }]);
    expect(schemas.some((each) => 'definition' in each)).toBe(false);
  });

  fact('a schema has up to twenty revisions; for more, one must go', { gap: 22 }, async (pubsub) => {
    const { name, revisionId } = await create(pubsub, avro);
    for (let count = 2; count <= 20; count++) await pubsub.call('RollbackSchema', { name, revisionId });
    const commit = { name, schema: { name, ...avro } };
    await pubsub.refuses('CommitSchema', commit, 'FAILED_PRECONDITION', '20 revisions');
    await pubsub.call('DeleteSchemaRevision', { name: `${name}@${revisionId}` });
    await pubsub.call('CommitSchema', commit);
  });

  fact('a revision keeps the type, and is compatible with each one before it', { gap: 43 }, async (pubsub) => {
    const commit = (name: string, schema: Json) => ({ name, schema: { name, ...schema } });
    const { name, revisionId } = await create(pubsub, avro);
    await pubsub.refuses('CommitSchema', commit(name, protobuf), 'INVALID_ARGUMENT', 'AVRO');
    const other = commit(name, { ...avro, definition: recordOf(['id', 'string'], ['count', 'string']) });
    const because = `incompatible with previous revision: ${revisionId}. count`;
    await pubsub.refuses('CommitSchema', other, 'INVALID_ARGUMENT', because);
    const { name: order, revisionId: withCount } = await create(pubsub, protobuf);
    await pubsub.call('CommitSchema', commit(order, orderOf('string id = 1;')));
    const reused = commit(order, orderOf('string id = 1; string count = 2;'));
    const why = `previous revision: ${withCount}. count: string is not compatible with int32`;
    await pubsub.refuses('CommitSchema', reused, 'INVALID_ARGUMENT', why);
  });

  for (const [kind, encoding, fits, fails] of [
    ['AVRO', 'JSON', good, base64('{"id":"a","count":"1"}')],
    ['AVRO', 'BINARY', base64(Buffer.from([2, 97, 2])), base64(Buffer.from([2, 97]))],
    ['PROTO', 'JSON', good, base64('{"id":"a","amount":1}')],
    ['PROTO', 'BINARY', base64(Buffer.from([10, 1, 97, 16, 1])), base64(Buffer.from([10, 1, 97, 24, 1]))],
  ] as const) {
    const gap = kind === 'PROTO' ? 17 : [];
    fact(`a topic takes ${kind} in ${encoding}, and all of a publish or none`, { gap }, async (pubsub) => {
      const { name, revisionId } = await create(pubsub, kind === 'AVRO' ? avro : protobuf);
      const topic = await pubsub.topic({ schemaSettings: { schema: name, encoding } });
      const { publish, take, pull } = await pubsub.reader({ topic });
      const messages = [fits, fails].map((data) => ({ data }));
      await pubsub.refuses('Publish', { topic, messages }, 'INVALID_ARGUMENT');
      await publish({ data: fits, attributes: { mine: 'kept' } });
      const [received] = await take();
      expect(received!.message).toMatchObject({
        data: fits,
        attributes: {
          mine: 'kept',
          googclient_schemaencoding: encoding,
          googclient_schemaname: name,
          googclient_schemarevisionid: revisionId,
        },
      });
      expect(await pull()).toEqual([]);
    });

    fact(
      `a refusal says why, of ${kind} in ${encoding}, in Google’s words and details`,
      { gap: 42 },
      async (pubsub) => {
        const { name, revisionId } = await create(pubsub, kind === 'AVRO' ? avro : protobuf);
        const topic = await pubsub.topic({ schemaSettings: { schema: name, encoding } });
        const messages = [fits, fails].map((data) => ({ data }));
        const refused = await pubsub.call('Publish', { topic, messages }).catch((error: WireError) => error);
        expect(refused).toMatchObject({
          message: expect.stringMatching(
            /^Invalid data in message: Message failed schema validation\. messages\[1\]: /,
          ),
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
      },
    );
  }

  fact('what the broker says of the schema counts as none of the hundred attributes', { gap: 22 }, async (pubsub) => {
    const { topic } = await readerWith(pubsub, avro);
    const messages = (count: number) => {
      const attributes = Object.fromEntries(Array.from({ length: count }, (_each, index) => [`a${index}`, 'b']));
      return [{ data: good, attributes }];
    };
    await pubsub.publish(topic, ...messages(100));
    await pubsub.refuses('Publish', { topic, messages: messages(101) }, 'INVALID_ARGUMENT', 'attributes');
  });

  fact(
    'a message is taken by the newest revision it fits, between the topic’s first and last',
    { gap: 43 },
    async (pubsub) => {
      const { call, refuses } = pubsub;
      const { name, revisionId: first } = await create(pubsub, avro);
      const { revisionId: second } = await call('CommitSchema', { name, schema: { name, ...wider } });
      const topic = await pubsub.topic({ schemaSettings: { schema: name, encoding: 'JSON' } });
      const { publish, take, ack } = await pubsub.reader({ topic });
      const [short, wide] = [{ data: good }, { data: base64('{"id":"a","count":1,"note":""}') }];
      const revision = async (message: Json) => {
        await publish(message);
        const received = await take();
        await ack(...received);
        return received[0]!.message.attributes!.googclient_schemarevisionid;
      };
      const limit = (schemaSettings: Json, updateMask: string) => ({
        topic: { name: topic, schemaSettings },
        updateMask,
      });
      expect([await revision(short), await revision(wide)]).toEqual([first, second]);
      await call('UpdateTopic', limit({ lastRevisionId: first }, 'schema_settings.last_revision_id'));
      expect(await revision(short)).toBe(first);
      await refuses('Publish', { topic, messages: [wide] }, 'INVALID_ARGUMENT', 'note');
      const exchanged = limit({ firstRevisionId: second }, 'schema_settings.first_revision_id');
      await refuses('UpdateTopic', exchanged, 'INVALID_ARGUMENT', 'newer');
      const unknown = limit({ lastRevisionId: '00000000' }, 'schemaSettings.lastRevisionId');
      await refuses('UpdateTopic', unknown, 'NOT_FOUND', '00000000');
      // The first that is gone: from the next on.
      const schemaSettings = { schema: name, encoding: 'JSON', firstRevisionId: first };
      expect(await call('UpdateTopic', limit(schemaSettings, 'schema_settings'))).toMatchObject({ schemaSettings });
      await call('DeleteSchemaRevision', { name: `${name}@${first}` });
      await refuses('Publish', { topic, messages: [short] }, 'INVALID_ARGUMENT', 'note');
      expect(await revision(wide)).toBe(second);
    },
  );

  fact('a topic whose schema was deleted says so, and takes no message', async (pubsub) => {
    const { topic, schema } = await readerWith(pubsub, avro);
    await pubsub.call('DeleteSchema', { name: schema });
    expect(await pubsub.call('GetTopic', { topic })).toMatchObject({ schemaSettings: { schema: '_deleted-schema_' } });
    await pubsub.refuses('Publish', { topic, messages: [{ data: good }] }, 'NOT_FOUND', 'deleted');
  });

  fact('not even one of the same name is its schema, until it is set', { gap: [15, 20] }, async (pubsub) => {
    const { call, refuses } = pubsub;
    const reader = await readerWith(pubsub, avro);
    const { topic, schema } = reader;
    const publish = { topic, messages: [{ data: good }] };
    await call('DeleteSchema', { name: schema });
    await call('CreateSchema', { parent: pubsub.project, schemaId: schema.split('/').at(-1), schema: avro });
    const deleted = { schemaSettings: { schema: '_deleted-schema_', encoding: 'JSON' } };
    expect(await call('GetTopic', { topic })).toMatchObject(deleted);
    await refuses('Publish', publish, 'NOT_FOUND', 'deleted');
    const labelled = { topic: { name: topic, labels: { a: 'b' } }, updateMask: 'labels' };
    expect(await call('UpdateTopic', labelled)).toMatchObject({ ...deleted, labels: { a: 'b' } });
    await refuses('Publish', publish, 'NOT_FOUND', 'deleted');
    const schemaSettings = { schema, encoding: 'JSON' };
    await call('UpdateTopic', { topic: { name: topic, schemaSettings }, updateMask: 'schema_settings' });
    await call('Publish', publish);
    await call('UpdateTopic', { topic: { name: topic }, updateMask: 'schema_settings' });
    expect(await call('GetTopic', { topic })).toEqual({ name: topic, labels: { a: 'b' }, state: 'ACTIVE' });
    await reader.publish('anything');
    expect(textsOf(await reader.take(2))).toContain('anything');
  });

  fact('a topic is refused a schema that is not there, and settings without encoding', async (pubsub) => {
    const { name: schema } = await create(pubsub, avro);
    const settings = (schemaSettings: Json) => ({ name: pubsub.name('topics'), schemaSettings });
    await pubsub.refuses('CreateTopic', settings({ schema: `${schema}x`, encoding: 'JSON' }), 'NOT_FOUND');
    await pubsub.refuses('CreateTopic', settings({ schema }), 'INVALID_ARGUMENT', 'encoding');
  });

  fact('a schema has an IAM policy, which goes with it', { gap: 14 }, async (pubsub) => {
    const { name: resource } = await create(pubsub, avro);
    const bindings = [{ role: 'roles/pubsub.viewer', members: ['user:a@example.com'] }];
    await pubsub.call('SetIamPolicy', { resource, policy: { bindings } });
    expect(await pubsub.call('GetIamPolicy', { resource })).toMatchObject({ bindings });
    await pubsub.call('DeleteSchema', { name: resource });
    await pubsub.refuses('GetIamPolicy', { resource }, 'NOT_FOUND');
    const schemaId = resource.split('/').at(-1);
    await pubsub.call('CreateSchema', { parent: pubsub.project, schemaId, schema: avro });
    expect(await pubsub.call('GetIamPolicy', { resource })).not.toHaveProperty('bindings');
  });
});

async function create({ call, name, project: parent }: Pubsub, schema: Json): Promise<Schema> {
  const schemaId = name('schemas').split('/').at(-1);
  return (await call('CreateSchema', { parent, schemaId, schema })) as Schema;
}

async function readerWith(pubsub: Pubsub, given: Json) {
  const { name: schema } = await create(pubsub, given);
  const reader = await pubsub.reader({ topic: await pubsub.topic({ schemaSettings: { schema, encoding: 'JSON' } }) });
  return { ...reader, schema };
}

/** @param fields name, type, and default where there is one */
function recordOf(...fields: readonly (readonly [string, unknown, unknown?])[]): string {
  return JSON.stringify({
    type: 'record',
    name: 'Order',
    fields: fields.map(([name, type, fallback]) => ({ name, type, default: fallback })),
  });
}

function orderOf(fields: string) {
  return { type: 'PROTOCOL_BUFFER', definition: `syntax = "proto3"; message Order { ${fields} }` };
}

function byName(a: Schema, b: Schema): number {
  return a.name < b.name ? -1 : 1;
}
