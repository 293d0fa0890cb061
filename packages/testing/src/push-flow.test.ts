import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Json } from './pubsub-wire.ts';
import { ack, name, PushBench, receiver, texts, topic } from './push-bench.ts';
import { PushReceiver } from './push-receiver.ts';

// Real: a broker on a port, and the endpoints it pushes to.

test('an endpoint that closes a connection as it is used again loses nothing, and costs no attempt', async () => {
  const bench = await PushBench.open();
  const endpoint = await receiver(ack);
  let closes = 0;
  endpoint.server.on('connection', (socket) => {
    let requests = 0;
    // Ahead of the HTTP parser: the second request on a connection is never seen by it.
    socket.prependListener('data', () => {
      if (++requests === 1) return;
      closes++;
      socket.resetAndDestroy();
    });
  });
  await bench.subscribe({ pushEndpoint: endpoint.url });
  for (const text of ['one', 'two', 'three']) {
    await bench.publish(text);
    await expect.poll(() => bench.backlog()).toBe(0);
  }
  expect(closes).toBeGreaterThan(0);
});

test('it starts slowly: as many at once as the window has, twice as many when all were acked; failures shrink it and pause all', async () => {
  const bench = await PushBench.open();
  const endpoint = await receiver();
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish(...texts(200));
  let held = 0;
  for (const size of [4, 8, 16, 32]) {
    await expect.poll(() => endpoint.waiting.length).toBe(size);
    expect(bench.leased).toBe(size);
    held += size;
    expect(endpoint.count).toBe(held);
    endpoint.answer(200);
  }
  await expect.poll(() => endpoint.waiting.length).toBe(64);
  endpoint.answer(503);
  await expect.poll(() => bench.leased).toBe(0);
  // 140 that were never tried wait as well: the pause is the subscription's, not a message's.
  for (const pauseMs of [100, 200, 400, 800]) {
    bench.clock.advance(pauseMs - 1);
    expect(bench.leased).toBe(0);
    bench.clock.advance(1);
    expect(bench.leased).toBe(1);
    await expect.poll(() => endpoint.waiting.length).toBe(1);
    endpoint.answer(503);
    await expect.poll(() => bench.leased).toBe(0);
  }
  endpoint.onPush = ack;
  await bench.passUntil(() => bench.backlog() === 0);
});

test('an endpoint where nobody listens is asked again when its pause is over, no more often', async () => {
  const bench = await PushBench.open();
  const endpoint = await PushReceiver.open();
  const { url } = endpoint;
  await endpoint[Symbol.asyncDispose]();
  await bench.subscribe({ pushEndpoint: url });
  await bench.publish(...texts(50));
  await expect.poll(() => bench.leased).toBe(0);
  bench.clock.advance(99);
  expect(bench.leased).toBe(0);
  // What is published meanwhile waits too.
  await bench.publish('more');
  expect(bench.leased).toBe(0);
  bench.clock.advance(1);
  expect(bench.leased).toBe(1);
});

test('an endpoint that hangs holds up no other subscription', async () => {
  const bench = await PushBench.open();
  const hanging = await receiver();
  const endpoint = await receiver(ack);
  const other = 'projects/test/subscriptions/other';
  await bench.subscribe({ pushEndpoint: hanging.url });
  await bench.call('CreateSubscription', { name: other, topic, pushConfig: { pushEndpoint: endpoint.url } });
  await bench.publish(...texts(300));
  await expect.poll(() => bench.backlog(other)).toBe(0);
  expect(bench.backlog()).toBe(300);
  expect(hanging.waiting).toHaveLength(4);
});

test('a subscription goes to another endpoint, to pulling and back, and what waited comes there', async () => {
  const bench = await PushBench.open();
  const [first, second] = [await receiver(), await receiver()];
  const modify = (pushConfig: Json) => bench.call('ModifyPushConfig', { subscription: name, pushConfig });
  await bench.subscribe({ pushEndpoint: first.url });
  await bench.publish(...texts(6));
  await expect.poll(() => first.waiting.length).toBe(4);
  await modify({ pushEndpoint: second.url });
  // What is under way to the first is its own to answer.
  await expect.poll(() => second.waiting.map(({ text }) => text)).toEqual(['message 4', 'message 5']);
  first.answer(200);
  await expect.poll(() => bench.backlog()).toBe(2);

  await modify({});
  second.answer(500);
  await expect.poll(() => bench.leased).toBe(0);
  bench.clock.advance(60_000);
  expect(bench.leased).toBe(0);
  const { receivedMessages } = (await bench.call('Pull', { subscription: name, maxMessages: 1 })) as {
    receivedMessages: { ackId: string }[];
  };
  await bench.call('Acknowledge', { subscription: name, ackIds: receivedMessages.map(({ ackId }) => ackId) });

  await modify({ pushEndpoint: first.url });
  await bench.passUntil(() => first.waiting.length === 1);
  first.answer(200);
  await expect.poll(() => bench.backlog()).toBe(0);
  expect([first.count, second.count]).toEqual([5, 2]);
});

test.each([
  ['deleted', 'DeleteSubscription'],
  ['detached', 'DetachSubscription'],
])('a subscription that is %s is pushed no more', async (_how, rpc) => {
  const bench = await PushBench.open();
  const endpoint = await receiver();
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish(...texts(20));
  await expect.poll(() => endpoint.waiting.length).toBe(4);
  await bench.call(rpc, { subscription: name });
  endpoint.answer(200);
  await bench.publish('later');
  bench.clock.advance(600_000);
  // The broker waits for its pushes: were there others, they would have been counted.
  await bench.server[Symbol.asyncDispose]();
  expect(endpoint.count).toBe(4);
  await bench.start();
});

test('a message whose push a restart cut off is pushed again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-push-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const bench = await PushBench.open({ path: join(folder, 'broker.db') });
  const endpoint = await receiver();
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish('cut off');
  await expect.poll(() => endpoint.waiting.length).toBe(1);
  await bench.server[Symbol.asyncDispose]();
  await bench.start();
  await expect.poll(() => endpoint.waiting.map(({ text }) => text)).toEqual(['cut off', 'cut off']);
  endpoint.answer(200);
  await expect.poll(() => bench.backlog()).toBe(0);
});
