import { Encodings, type Message, Schema, SchemaTypes, type Topic } from '@google-cloud/pubsub';
import protobuf from 'protobufjs';
import { expect, test } from 'vitest';
import { BrokerServer } from './broker-server.ts';
import { clientOf, newBrokerPath } from './google-fixture.ts';

// Google's own client, told where the broker is in the way its users tell it.

const avro = JSON.stringify({
  type: 'record',
  name: 'Province',
  fields: [
    { name: 'name', type: 'string' },
    { name: 'post_abbr', type: ['null', 'string'], default: null },
  ],
});
const proto = 'syntax = "proto3"; message Province { string name = 1; string post_abbr = 2; }';

async function received(topic: Topic, count: number): Promise<{ data: Buffer; attributes: Message['attributes'] }[]> {
  const [subscription] = await topic.subscription('reader').get({ autoCreate: true });
  const messages: Message[] = [];
  subscription.on('message', (message: Message) => {
    messages.push(message);
    message.ack();
  });
  await expect.poll(() => messages.length, { timeout: 30_000 }).toBe(count);
  await subscription.close();
  return messages;
}

test('it makes an Avro schema and a topic with it, and tells a message’s schema; a restart changes nothing', async () => {
  const path = newBrokerPath();
  let port: number;
  {
    await using server = await BrokerServer.open({ path });
    port = server.port;
    const client = clientOf(server);
    const schema = await client.createSchema('province', SchemaTypes.Avro, avro);
    expect(await schema.get('FULL')).toMatchObject({ type: 'AVRO', definition: avro });
    expect(await client.validateSchema({ type: 'AVRO', definition: avro })).toBeUndefined();
    await expect(client.validateSchema({ type: 'AVRO', definition: '{' })).rejects.toMatchObject({ code: 3 });
    const validate = (text: string) => schema.validateMessage(Buffer.from(text).toString('base64'), Encodings.Json);
    await validate('{"name":"Ontario","post_abbr":{"string":"ON"}}');
    await expect(validate('{"name":1}')).rejects.toMatchObject({ code: 3 });
    const listed: unknown[] = [];
    for await (const each of client.listSchemas()) listed.push(each.name);
    expect(listed).toEqual(['projects/test/schemas/province']);
    const [topic] = await client.createTopic({
      name: 'provinces',
      schemaSettings: { schema: await schema.getName(), encoding: 'JSON' },
    });
    await topic.createSubscription('reader');
    await client.close();
  }
  await using server = await BrokerServer.open({ path, port });
  const client = clientOf(server);
  const topic = client.topic('provinces');
  const [{ schemaSettings }] = await topic.getMetadata();
  expect(schemaSettings).toMatchObject({ schema: 'projects/test/schemas/province', encoding: 'JSON' });
  const data = Buffer.from('{"name":"Quebec","post_abbr":null}');
  await topic.publishMessage({ data });
  await expect(topic.publishMessage({ data: Buffer.from('{"name":"Quebec"}') })).rejects.toMatchObject({
    code: 3,
    details: expect.stringMatching(/Message failed schema validation.*post_abbr: it is missing/),
  });
  const [message] = await received(topic, 1);
  expect(message!.data).toEqual(data);
  expect(Schema.metadataFromMessage(message!.attributes)).toEqual({
    name: 'projects/test/schemas/province',
    encoding: 'JSON',
    revision: expect.stringMatching(/^[0-9a-f]{8}$/),
  });
  await client.schema('province').delete();
  expect((await topic.getMetadata())[0].schemaSettings?.schema).toBe('_deleted-schema_');
  await expect(topic.publishMessage({ data })).rejects.toMatchObject({ code: 5 });
  await client.close();
});

test('it commits a revision of a protobuf schema, publishes binary messages of both, and rolls back', async () => {
  await using server = await BrokerServer.open({ path: newBrokerPath() });
  const client = clientOf(server);
  const schema = await client.createSchema('province', SchemaTypes.ProtocolBuffer, proto);
  const name = await schema.getName();
  const service = await client.getSchemaClient();
  const wider = proto.replace('}', 'int32 people = 3; }');
  const [second] = await service.commitSchema({ name, schema: { name, type: 'PROTOCOL_BUFFER', definition: wider } });
  const revisionsOf = async () =>
    (await service.listSchemaRevisions({ name }))[0]!.map(({ revisionId }) => revisionId!);
  const [first = ''] = await revisionsOf();
  const [topic] = await client.createTopic({
    name: 'provinces',
    schemaSettings: { schema: name, encoding: 'BINARY', firstRevisionId: first },
  });
  await topic.createSubscription('reader');
  const type = protobuf.parse(wider, { keepCase: true }).root.lookupType('Province');
  const encoded = (message: object) => Buffer.from(type.encode(message).finish());
  await topic.publishMessage({ data: encoded({ name: 'Ontario', people: 14_000_000 }) });
  const [third] = await service.rollbackSchema({ name, revisionId: first });
  await topic.publishMessage({ data: encoded({ name: 'Quebec', post_abbr: 'QC' }) });
  await expect(topic.publishMessage({ data: Buffer.from('{"name":"Quebec"}') })).rejects.toMatchObject({
    code: 3,
  });
  const revisions = (await received(topic, 2)).map(({ attributes }) => attributes.googclient_schemarevisionid);
  expect(revisions.toSorted()).toEqual([second.revisionId, third.revisionId].toSorted());
  await service.deleteSchemaRevision({ name: `${name}@${first}` });
  expect(await revisionsOf()).toEqual([second.revisionId, third.revisionId]);
  await client.close();
});
