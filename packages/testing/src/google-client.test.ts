import { Duration, type Message } from '@google-cloud/pubsub';
import { beforeEach, expect, test } from 'vitest';
import { BrokerServer } from './broker-server.ts';
import { clientOf, newBrokerPath } from './google-fixture.ts';

// Google's own client, told where the broker is in the way its users tell it.

let path: string;

beforeEach(() => {
  path = newBrokerPath();
});

const names = (count: number) => Array.from({ length: count }, (_each, index) => `message ${index}`);

test('it publishes, and receives by streaming pull within its flow control, each message once', async () => {
  await using server = await BrokerServer.open({ path });
  const client = clientOf(server);
  const [topic] = await client.createTopic('news');
  await topic.createSubscription('reader');
  const subscription = topic.subscription('reader', {
    flowControl: { maxMessages: 5, allowExcessMessages: false },
    // Its own ten seconds pass on a machine that has other work, and then a message comes again.
    minAckDeadline: Duration.from({ minutes: 10 }),
  });
  const received: string[] = [];
  let held = 0;
  let mostHeld = 0;
  const { leases } = server.broker.subscription('projects/test/subscriptions/reader');
  subscription.on('message', (message: Message) => {
    mostHeld = Math.max(mostHeld, ++held, leases.size);
    expect(message.attributes).toEqual({ kind: 'test' });
    setImmediate(() => {
      held--;
      received.push(message.data.toString());
      message.ack();
    });
  });
  await Promise.all(
    names(300).map((text) => topic.publishMessage({ data: Buffer.from(text), attributes: { kind: 'test' } })),
  );
  await expect.poll(() => received.length, { timeout: 30_000 }).toBe(300);
  expect(received.toSorted()).toEqual(names(300).toSorted());
  await expect.poll(() => server.broker.subscription('projects/test/subscriptions/reader').backlog()).toBe(0);
  // The client asks for so many on each of its streams, which are five.
  expect(mostHeld).toBeLessThanOrEqual(25);
  await subscription.close();
  await client.close();
});

test('a nacked message comes to it again, and an error has Google’s code', async () => {
  await using server = await BrokerServer.open({ path });
  const client = clientOf(server);
  const [topic] = await client.createTopic('news');
  const [subscription] = await topic.createSubscription('reader');
  const ids: string[] = [];
  subscription.on('message', (message: Message) => {
    ids.push(message.id);
    if (ids.length === 1) message.nack();
    else message.ack();
  });
  const id = await topic.publishMessage({ data: Buffer.from('once more') });
  await expect.poll(() => ids, { timeout: 30_000 }).toEqual([id, id]);
  await expect(client.createTopic('news')).rejects.toMatchObject({ code: 6 });
  await expect(client.topic('missing').getMetadata()).rejects.toMatchObject({ code: 5 });
  await subscription.close();
  await client.close();
});

test('it keeps names, labels, lists and policies there, and finds them after a restart', async () => {
  let port: number;
  {
    await using server = await BrokerServer.open({ path });
    port = server.port;
    const client = clientOf(server);
    const [topic] = await client.createTopic({ name: 'news', labels: { team: 'a' } });
    const [subscription] = await topic.createSubscription('reader', { ackDeadlineSeconds: 30 });
    await subscription.setMetadata({ labels: { team: 'b' } });
    await topic.iam.setPolicy({ bindings: [{ role: 'roles/pubsub.viewer', members: ['user:a@example.com'] }] });
    await topic.publishMessage({ data: Buffer.from('kept') });
    await client.close();
  }
  await using server = await BrokerServer.open({ path, port });
  const client = clientOf(server);
  const topic = client.topic('news');
  expect(await topic.exists()).toEqual([true]);
  expect((await topic.getMetadata())[0]).toMatchObject({ labels: { team: 'a' } });
  expect((await topic.getSubscriptions())[0]!.map(({ name }) => name)).toEqual(['projects/test/subscriptions/reader']);
  const subscription = topic.subscription('reader');
  expect((await subscription.getMetadata())[0]).toMatchObject({ ackDeadlineSeconds: 30, labels: { team: 'b' } });
  expect((await topic.iam.getPolicy())[0]).toMatchObject({ bindings: [{ members: ['user:a@example.com'] }] });
  const received: string[] = [];
  subscription.on('message', (message: Message) => {
    received.push(message.data.toString());
    message.ack();
  });
  await expect.poll(() => received, { timeout: 30_000 }).toEqual(['kept']);
  await subscription.close();
  await client.close();
});

test('a broker that restarts under its open stream is found again, and what was published comes', async () => {
  let server = await BrokerServer.open({ path });
  const { port } = server;
  const client = clientOf(server);
  const [topic] = await client.createTopic('news');
  const [subscription] = await topic.createSubscription('reader');
  const received: string[] = [];
  subscription.on('message', (message: Message) => {
    received.push(message.data.toString());
    message.ack();
  });
  subscription.on('error', (error: Error) => received.push(`error: ${error.message}`));
  await topic.publishMessage({ data: Buffer.from('before') });
  await expect.poll(() => received, { timeout: 30_000 }).toEqual(['before']);
  await expect.poll(() => server.broker.subscription('projects/test/subscriptions/reader').backlog()).toBe(0);
  await server[Symbol.asyncDispose]();
  server = await BrokerServer.open({ path, port });
  await topic.publishMessage({ data: Buffer.from('after') });
  await expect.poll(() => received, { timeout: 45_000 }).toEqual(['before', 'after']);
  await subscription.close();
  await client.close();
  await server[Symbol.asyncDispose]();
});
