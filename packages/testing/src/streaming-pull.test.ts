import { expect, test } from 'vitest';
import { BrokerServer } from './broker-server.ts';
import { overGrpc, streamingPull } from './pubsub-grpc.ts';
import type { Json } from './pubsub-wire.ts';

const topic = 'projects/test/topics/news';
const subscription = 'projects/test/subscriptions/reader';
const opening = { subscription, streamAckDeadlineSeconds: 10 };

/** A broker with a topic and a subscription. */
async function serve() {
  const server = await BrokerServer.open();
  const wire = overGrpc(server.address);
  await wire.call('CreateTopic', { name: topic });
  await wire.call('CreateSubscription', {
    name: subscription,
    topic,
    retryPolicy: { minimumBackoff: '0s', maximumBackoff: '0s' },
  });
  const publish = (...texts: string[]) =>
    wire.call('Publish', { topic, messages: texts.map((text) => ({ data: Buffer.from(text).toString('base64') })) });
  return {
    ...server,
    call: wire.call,
    publish,
    address: server.address,
    broker: server.broker,
    async [Symbol.asyncDispose]() {
      wire[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const textsOf = (received: readonly { message: Json }[]) =>
  received.map(({ message }) => Buffer.from(message.data as string, 'base64').toString());

test('what is published arrives on an open stream, and what is acked there is settled', async () => {
  await using server = await serve();
  using stream = streamingPull(server.address);
  stream.send(opening);
  await server.publish('1');
  await expect.poll(() => textsOf(stream.received)).toEqual(['1']);
  stream.send({ ackIds: [stream.received[0]!.ackId] });
  await expect.poll(() => server.broker.subscription(subscription).backlog()).toBe(0);
  await server.publish('2');
  await expect.poll(() => textsOf(stream.received)).toEqual(['1', '2']);
  stream.finish();
  expect(await stream.ended).toBeUndefined();
});

test('no more is sent than may be outstanding, whether acks come on the stream or beside it', async () => {
  await using server = await serve();
  using stream = streamingPull(server.address);
  stream.send({ ...opening, maxOutstandingMessages: '2' });
  await server.publish('1', '2', '3', '4', '5', '6');
  const { leases } = server.broker.subscription(subscription);
  await expect.poll(() => textsOf(stream.received)).toEqual(['1', '2']);
  stream.send({ ackIds: [stream.received[0]!.ackId] });
  await expect.poll(() => textsOf(stream.received)).toEqual(['1', '2', '3']);
  await server.call('Acknowledge', { subscription, ackIds: [stream.received[1]!.ackId] });
  await expect.poll(() => textsOf(stream.received)).toEqual(['1', '2', '3', '4']);
  // What is at its limit leases nothing, so the rest is there for others.
  expect(leases.size).toBe(2);
  const { receivedMessages } = await server.call('Pull', { subscription, maxMessages: 10 });
  expect(textsOf(receivedMessages as { message: Json }[])).toEqual(['5', '6']);
});

test('bytes are limited as messages are, and one that is larger than the limit comes alone', async () => {
  await using server = await serve();
  using stream = streamingPull(server.address);
  stream.send({ ...opening, maxOutstandingBytes: '10' });
  await server.publish('x'.repeat(50), 'y'.repeat(6), 'z'.repeat(6), 'a');
  await expect.poll(() => stream.received.length).toBe(1);
  stream.send({ ackIds: [stream.received[0]!.ackId] });
  await expect.poll(() => stream.received.length).toBe(3);
  expect(server.broker.subscription(subscription).leases.size).toBe(2);
});

test('a deadline of zero on the stream is a nack, and the message comes again', async () => {
  await using server = await serve();
  using stream = streamingPull(server.address);
  stream.send(opening);
  await server.publish('1');
  await expect.poll(() => stream.received.length).toBe(1);
  stream.send({ modifyDeadlineAckIds: [stream.received[0]!.ackId], modifyDeadlineSeconds: [0] });
  await expect.poll(() => textsOf(stream.received)).toEqual(['1', '1']);
});

test('streams of one subscription share what comes', async () => {
  await using server = await serve();
  using one = streamingPull(server.address);
  using other = streamingPull(server.address);
  for (const stream of [one, other]) stream.send({ ...opening, maxOutstandingMessages: '3' });
  await expect.poll(() => server.broker.subscription(subscription).waiting.size).toBe(2);
  await server.publish('1', '2', '3', '4', '5', '6');
  await expect.poll(() => [one.received.length, other.received.length]).toEqual([3, 3]);
});

test('what a stream had not settled when it was cut stays leased, and comes to the next after its deadline', async () => {
  await using server = await serve();
  using stream = streamingPull(server.address);
  stream.send(opening);
  await server.publish('1');
  await expect.poll(() => stream.received.length).toBe(1);
  stream[Symbol.dispose]();
  const state = server.broker.subscription(subscription);
  await expect.poll(() => state.waiting.size).toBe(0);
  expect(state.leases.size).toBe(1);
  using next = streamingPull(server.address);
  next.send(opening);
  await server.call('ModifyAckDeadline', { subscription, ackIds: [stream.received[0]!.ackId], ackDeadlineSeconds: 0 });
  await expect.poll(() => textsOf(next.received)).toEqual(['1']);
});

test.each([
  ['names no subscription', [{ streamAckDeadlineSeconds: 10 }], 'INVALID_ARGUMENT', 'subscription'],
  ['says no deadline', [{ subscription }], 'INVALID_ARGUMENT', 'streamAckDeadlineSeconds'],
  ['has a deadline of 9 s', [{ ...opening, streamAckDeadlineSeconds: 9 }], 'INVALID_ARGUMENT', '10 to 600'],
  [
    'is for a subscription that is not there',
    [{ ...opening, subscription: `${subscription}s` }],
    'NOT_FOUND',
    'readers',
  ],
  ['names its subscription twice', [opening, { subscription }], 'INVALID_ARGUMENT', 'first request'],
  ['sets its limit later', [opening, { maxOutstandingMessages: '5' }], 'INVALID_ARGUMENT', 'first request'],
  ['acks what is no ack id', [opening, { ackIds: ['nonsense'] }], 'INVALID_ARGUMENT', 'nonsense'],
  ['has ids without seconds', [opening, { modifyDeadlineAckIds: ['a'] }], 'INVALID_ARGUMENT', 'each id'],
  [
    'has a negative deadline',
    [opening, { modifyDeadlineAckIds: ['a'], modifyDeadlineSeconds: [-1] }],
    'INVALID_ARGUMENT',
    '-1',
  ],
] as const)('a stream that %s is ended', async (_what, requests, status, because) => {
  await using server = await serve();
  using stream = streamingPull(server.address);
  for (const request of requests) stream.send(request);
  expect(await stream.ended).toMatchObject({ status, message: expect.stringContaining(because) });
});

test.each([
  ['deleted', 'DeleteSubscription', {}, 'NOT_FOUND'],
  ['detached', 'DetachSubscription', {}, 'FAILED_PRECONDITION'],
  [
    'given an endpoint',
    'ModifyPushConfig',
    { pushConfig: { pushEndpoint: 'http://127.0.0.1:9/' } },
    'FAILED_PRECONDITION',
  ],
])('a stream ends when its subscription is %s', async (_what, rpc, request, status) => {
  await using server = await serve();
  using stream = streamingPull(server.address);
  stream.send(opening);
  await expect.poll(() => server.broker.subscription(subscription).waiting.size).toBe(1);
  await server.call(rpc, { subscription, ...request });
  expect(await stream.ended).toMatchObject({ status });
});
