import { AckResponses, type Message, type Subscription } from '@google-cloud/pubsub';
import { beforeEach, expect, test } from 'vitest';
import { BrokerServer } from './broker-server.ts';
import { clientOf, newBrokerPath } from './google-fixture.ts';
import { until } from './until.ts';

// Google's own client, and what it makes of the policies of a subscription.

let path: string;

beforeEach(() => {
  path = newBrokerPath();
});

const textOf = ({ data }: Message) => data.toString();

test('messages of a key come to it in their order, and after a nack all from there on again', async () => {
  await using server = await BrokerServer.open({ path });
  const client = clientOf(server);
  const [topic] = await client.createTopic('news');
  topic.setPublishOptions({ messageOrdering: true });
  const [subscription] = await topic.createSubscription('reader', { enableMessageOrdering: true });
  const texts = Array.from({ length: 20 }, (_each, index) => String(index));
  await Promise.all(
    texts.flatMap((text) =>
      ['a', 'b'].map((orderingKey) => topic.publishMessage({ data: Buffer.from(text), orderingKey })),
    ),
  );
  const acked: Record<string, string[]> = { a: [], b: [] };
  let nacked = false;
  subscription.on('message', (message: Message) => {
    if (textOf(message) === '7' && message.orderingKey === 'a' && !nacked) {
      nacked = true;
      message.nack();
      return;
    }
    acked[message.orderingKey!]!.push(textOf(message));
    message.ack();
  });
  const isThrough = ({ a, b }: typeof acked) =>
    b!.includes('19') && a!.includes('7') && a!.lastIndexOf('19') > a!.lastIndexOf('7');
  await until('all of both keys', () => isThrough(acked));
  expect(acked.b).toEqual(texts);
  // What was handed over before the nack was known comes once more; what comes last is the order.
  expect(acked.a!.slice(acked.a!.lastIndexOf('7'))).toEqual(texts.slice(7));
  expect([...new Set(acked.a)].toSorted()).toEqual(texts.toSorted());
  await subscription.close();
  await client.close();
});

test('with exactly-once delivery it is told what became of an ack, also of one that is too late', async () => {
  await using server = await BrokerServer.open({ path });
  const client = clientOf(server);
  const [topic] = await client.createTopic('news');
  const [subscription] = await topic.createSubscription('reader', { enableExactlyOnceDelivery: true });
  const received: Message[] = [];
  subscription.on('message', (message: Message) => received.push(message));
  await topic.publishMessage({ data: Buffer.from('once') });
  await until('the message', () => received.length === 1);
  expect(await received[0]!.nackWithResponse()).toBe(AckResponses.Success);
  await until('the message again', () => received.length === 2);
  expect(await received[1]!.ackWithResponse()).toBe(AckResponses.Success);
  expect(await received[0]!.ackWithResponse()).toBe(AckResponses.Invalid);
  expect(server.broker.subscription('projects/test/subscriptions/reader').backlog()).toBe(0);
  await subscription.close();
  await client.close();
});

test('a message it nacks five times says which attempt it is, and goes to the dead-letter topic', async () => {
  await using server = await BrokerServer.open({ path });
  const client = clientOf(server);
  const [topic] = await client.createTopic('news');
  const [deadTopic] = await client.createTopic('dead');
  const [dead] = await deadTopic.createSubscription('dead-reader');
  const [subscription] = await topic.createSubscription('reader', {
    deadLetterPolicy: { deadLetterTopic: deadTopic.name, maxDeliveryAttempts: 5 },
  });
  const attempts: number[] = [];
  subscription.on('message', (message: Message) => {
    attempts.push(message.deliveryAttempt);
    message.nack();
  });
  const forwarded: Message[] = [];
  dead.on('message', (message: Message) => {
    forwarded.push(message);
    message.ack();
  });
  await topic.publishMessage({ data: Buffer.from('poison'), attributes: { a: 'b' } });
  await until('the dead letter', () => forwarded.length === 1);
  expect(attempts).toEqual([1, 2, 3, 4, 5]);
  expect(textOf(forwarded[0]!)).toBe('poison');
  expect(forwarded[0]!.attributes).toMatchObject({ a: 'b', CloudPubSubDeadLetterSourceDeliveryCount: '5' });
  await Promise.all([subscription.close(), dead.close()]);
  await client.close();
});

test('it makes a snapshot and seeks to it, and to a time', async () => {
  await using server = await BrokerServer.open({ path });
  const client = clientOf(server);
  const [topic] = await client.createTopic('news');
  const [subscription] = await topic.createSubscription('reader');
  await topic.publishMessage({ data: Buffer.from('1') });
  await subscription.createSnapshot('before');
  expect((await client.getSnapshots())[0]!.map(({ name }) => name)).toEqual(['projects/test/snapshots/before']);
  const received: string[] = [];
  const listen = (to: Subscription) =>
    to.on('message', (message: Message) => {
      received.push(textOf(message));
      message.ack();
    });
  listen(subscription);
  const state = server.broker.subscription('projects/test/subscriptions/reader');
  const settled = (count: number) => until('an ack', () => received.length === count && state.backlog() === 0);
  await settled(1);
  await subscription.seek('before');
  await settled(2);
  await topic.publishMessage({ data: Buffer.from('2') });
  await settled(3);
  await subscription.seek(new Date(Date.now() + 3_600_000));
  await topic.publishMessage({ data: Buffer.from('3') });
  await settled(4);
  expect(received).toEqual(['1', '1', '2', '3']);
  await subscription.snapshot('before').delete();
  expect((await client.getSnapshots())[0]).toEqual([]);
  await subscription.close();
  await client.close();
});

test('a restart in mid-stream loses nothing, and with exactly-once delivery repeats nothing that was acked', async () => {
  let server = await BrokerServer.open({ path });
  const { port } = server;
  const client = clientOf(server);
  const [topic] = await client.createTopic('news');
  const [subscription] = await topic.createSubscription('reader', { enableExactlyOnceDelivery: true });
  const acked: string[] = [];
  const seen = new Set<string>();
  subscription.on('message', async (message: Message) => {
    seen.add(textOf(message));
    const text = textOf(message);
    await message.ackWithResponse().then(
      () => acked.push(text),
      // Its answer went down with the broker: it comes again, or was taken.
      () => {},
    );
  });
  subscription.on('error', () => {});
  const texts = Array.from({ length: 200 }, (_each, index) => String(index));
  const publish = (some: readonly string[]) =>
    Promise.all(some.map((text) => topic.publishMessage({ data: Buffer.from(text) })));
  await publish(texts.slice(0, 100));
  await until('some acks', () => acked.length >= 20);
  await server[Symbol.asyncDispose]();
  server = await BrokerServer.open({ path, port });
  await publish(texts.slice(100));
  const state = server.broker.subscription('projects/test/subscriptions/reader');
  await until('all of them', () => seen.size === texts.length && state.backlog() === 0, 50_000);
  expect(new Set(acked).size).toBe(acked.length);
  await subscription.close();
  await client.close();
  await server[Symbol.asyncDispose]();
}, 90_000);
