import { expect, test } from 'vitest';
import { ack, name, PushBench, receiver, texts } from './push-bench.ts';
import type { ReceivedPush } from './push-receiver.ts';

// Real: a broker on a port, and the endpoints it pushes to.

test('a push is Pub/Sub’s envelope, with both spellings, ordering key and attributes', async () => {
  const bench = await PushBench.open();
  const endpoint = await receiver();
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish({ data: 'hello', attributes: { kind: 'greeting' }, orderingKey: 'k' });
  await expect.poll(() => endpoint.waiting.length).toBe(1);
  const [push] = endpoint.waiting;
  const { messageId, publishTime } = push!.envelope.message;
  expect(push!.envelope).toEqual({
    message: {
      attributes: { kind: 'greeting' },
      data: Buffer.from('hello').toString('base64'),
      messageId: expect.stringMatching(/^\d+$/),
      message_id: messageId,
      orderingKey: 'k',
      publishTime: '2026-01-01T00:00:00.000Z',
      publish_time: publishTime,
    },
    subscription: name,
  });
  expect(push!.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'CloudPubSub-Google' });
  expect(push!.headers).not.toHaveProperty('authorization');
  expect(push!.response.req).toMatchObject({ method: 'POST', url: '/push?from=broker' });
  endpoint.answer(200);
  await expect.poll(() => bench.backlog()).toBe(0);
});

test('with a dead-letter policy the envelope says which attempt it is, and after the last the message goes to the topic', async () => {
  const bench = await PushBench.open();
  const endpoint = await receiver();
  const dead = 'projects/test/topics/dead';
  const readers = 'projects/test/subscriptions/dead';
  await bench.call('CreateTopic', { name: dead });
  await bench.call('CreateSubscription', { name: readers, topic: dead });
  const deadLetterPolicy = { deadLetterTopic: dead, maxDeliveryAttempts: 5 };
  await bench.subscribe({ pushEndpoint: endpoint.url }, { deadLetterPolicy });
  await bench.publish('hello');
  for (const attempt of [1, 2, 3, 4, 5]) {
    await bench.passUntil(() => endpoint.waiting.length === 1);
    expect(endpoint.waiting[0]!.envelope).toMatchObject({ deliveryAttempt: attempt });
    endpoint.answer(500);
    await expect.poll(() => bench.leased).toBe(0);
  }
  await expect.poll(() => [bench.backlog(), bench.backlog(readers)]).toEqual([0, 1]);
});

test('an ordered subscription pushes one message of a key at a time, in order, also after a failure', async () => {
  const bench = await PushBench.open();
  const endpoint = await receiver();
  await bench.subscribe({ pushEndpoint: endpoint.url }, { enableMessageOrdering: true });
  for (const orderingKey of ['a', 'b']) {
    await bench.publish(...[1, 2, 3].map((n) => ({ data: `${orderingKey}${n}`, orderingKey })));
  }
  const acked: string[] = [];
  let hasFailed = false;
  while (acked.length < 6) {
    await bench.passUntil(() => endpoint.waiting.length > 0);
    expect(new Set(endpoint.waiting.map(({ text }) => text[0])).size).toBe(endpoint.waiting.length);
    const push = endpoint.waiting.shift()!;
    const fails: boolean = push.text === 'a2' && !hasFailed;
    hasFailed ||= fails;
    if (!fails) acked.push(push.text);
    push.answer(fails ? 500 : 200);
    await new Promise((resolve) => push.response.on('close', resolve));
  }
  expect(acked.filter((text) => text.startsWith('a'))).toEqual(['a1', 'a2', 'a3']);
  expect(acked.filter((text) => text.startsWith('b'))).toEqual(['b1', 'b2', 'b3']);
  await expect.poll(() => bench.backlog()).toBe(0);
});

test('unwrapped, the data is the body; with metadata, attributes and what is Pub/Sub’s are headers, what frames the request is not', async () => {
  const bench = await PushBench.open();
  const endpoint = await receiver();
  await bench.subscribe({ pushEndpoint: endpoint.url, noWrapper: { writeMetadata: true } });
  await bench.publish({
    data: '{"status": "Hello there"}',
    attributes: {
      'Content-Type': 'application/json; v=1',
      City: 'Zürich 🐭',
      host: 'elsewhere.example',
      'transfer-encoding': 'chunked',
      'two words': 'x',
      lines: 'a\r\nb',
      'x-goog-pubsub-message-id': 'forged',
    },
    orderingKey: 'some-key',
  });
  await expect.poll(() => endpoint.waiting.length).toBe(1);
  const [{ body, headers }] = endpoint.waiting as [ReceivedPush];
  expect(body.toString()).toBe('{"status": "Hello there"}');
  expect(headers).toMatchObject({
    'content-type': 'application/json; v=1',
    'content-length': String(body.length),
    host: new URL(endpoint.url).host,
    'x-goog-pubsub-subscription-name': name,
    'x-goog-pubsub-message-id': expect.stringMatching(/^\d+$/),
    'x-goog-pubsub-publish-time': '2026-01-01T00:00:00.000Z',
    'x-goog-pubsub-ordering-key': 'some-key',
  });
  expect(Buffer.from(String(headers.city), 'latin1').toString()).toBe('Zürich 🐭');
  expect(Object.keys(headers)).not.toContain('lines');
  expect(headers).not.toHaveProperty('transfer-encoding');
  endpoint.answer(200);
  await expect.poll(() => bench.backlog()).toBe(0);

  await bench.call('ModifyPushConfig', {
    subscription: name,
    pushConfig: { pushEndpoint: endpoint.url, noWrapper: {} },
  });
  await bench.publish({ data: 'bare', attributes: { 'content-type': 'text/plain', kind: 'x' } });
  await expect.poll(() => endpoint.waiting.length).toBe(1);
  const [bare] = endpoint.waiting;
  expect(bare!.text).toBe('bare');
  expect(Object.keys(bare!.headers).toSorted()).toEqual(['connection', 'content-length', 'host', 'user-agent']);
});

const failed = 'HTTP/1.1 500 E\r\ncontent-length: 0\r\n\r\n';

const statuses: readonly (readonly [answer: string, isAcked: boolean, answer: (push: ReceivedPush) => void])[] = [
  ['102, whatever follows', true, ({ response }) => void response.socket!.end(`HTTP/1.1 102 P\r\n\r\n${failed}`)],
  [
    '100 and 103, then 500',
    false,
    ({ response }) => void response.socket!.end(`HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\n\r\n${failed}`),
  ],
  ...([200, 201, 202, 204] as const).map(
    (status) => [`${status}`, true, (push: ReceivedPush) => push.answer(status)] as const,
  ),
  ...([203, 205, 206, 300, 304, 400, 404, 429, 500, 503] as const).map(
    (status) => [`${status}`, false, (push: ReceivedPush) => push.answer(status)] as const,
  ),
  ['a broken connection', false, ({ response }) => void response.destroy()],
  ['a broken status line', false, ({ response }) => void response.socket!.end('HTTP/9 ok\r\n\r\n')],
  [
    '101',
    false,
    ({ response }) =>
      void response.socket!.end('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
  ],
];

test.each(statuses)('answered by %s, it is acked: %s', async (_answer, isAcked, answer) => {
  const bench = await PushBench.open();
  const endpoint = await receiver(answer);
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish('one');
  await expect.poll(() => endpoint.count).toBe(1);
  await expect.poll(() => bench.leased).toBe(0);
  // Acks are written down with the next group.
  await bench.server.broker.oldestUnsettledAt();
  expect(bench.backlog()).toBe(isAcked ? 0 : 1);
  if (isAcked) return;
  endpoint.onPush = ack;
  await bench.passUntil(() => endpoint.count === 2);
  await expect.poll(() => bench.backlog()).toBe(0);
});

test('a redirect is a nack: nobody follows it', async () => {
  const bench = await PushBench.open();
  const elsewhere = await receiver(ack);
  const endpoint = await receiver(({ response }) => void response.writeHead(307, { location: elsewhere.url }).end());
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish('one');
  await bench.passUntil(() => endpoint.count > 2);
  expect(elsewhere.count).toBe(0);
  expect(bench.backlog()).toBe(1);
});

test('a 102 acks at once, though the endpoint goes on', async () => {
  const bench = await PushBench.open();
  const endpoint = await receiver();
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish('one');
  await expect.poll(() => endpoint.waiting.length).toBe(1);
  endpoint.waiting[0]!.response.writeProcessing();
  await expect.poll(() => bench.backlog()).toBe(0);
  // Ended by us in the end, so that nobody holds connections by it.
  const gone = new Promise((resolve) => endpoint.waiting[0]!.response.on('close', resolve));
  bench.clock.advance(10_000);
  await gone;
});

test('no answer within the ack deadline is a nack, and the endpoint is hung up on', async () => {
  const bench = await PushBench.open();
  const endpoint = await receiver();
  await bench.subscribe({ pushEndpoint: endpoint.url }, { ackDeadlineSeconds: 30 });
  await bench.publish('one');
  await expect.poll(() => endpoint.waiting.length).toBe(1);
  bench.clock.advance(29_000);
  expect(bench.leased).toBe(1);
  const gone = new Promise((resolve) => endpoint.waiting[0]!.response.on('close', resolve));
  bench.clock.advance(1_000);
  await gone;
  await expect.poll(() => bench.leased).toBe(0);
  await bench.passUntil(() => endpoint.count === 2);
});

test('an answer without end is taken by its status, and not read', async () => {
  const bench = await PushBench.open();
  const closed: number[] = [];
  const endpoint = await receiver(({ response }) => {
    response.writeHead(200);
    let bytes = 0;
    const more = () => {
      do bytes += 16_384;
      while (response.write(Buffer.alloc(16_384)));
    };
    response.on('drain', more).on('close', () => closed.push(bytes));
    more();
  });
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish(...texts(20));
  await expect.poll(() => bench.backlog()).toBe(0);
  await expect.poll(() => closed.length).toBe(20);
});

test('what a subscription’s function makes of a message is pushed; null is settled, and a failure comes again', async () => {
  const bench = await PushBench.open();
  const pushed: string[] = [];
  const endpoint = await receiver((push) => {
    pushed.push(push.text);
    ack(push);
  });
  const code = `let tried = 0;
    function f(message) {
      if (message.data === 'hidden') return null;
      if (message.data === 'second try' && tried++ === 0) throw new Error('not yet');
      message.data += '!';
      return message;
    }`;
  const messageTransforms = [{ javascriptUdf: { functionName: 'f', code } }];
  await bench.subscribe({ pushEndpoint: endpoint.url }, { messageTransforms });
  await bench.publish('hidden', 'first', 'second try', 'last');
  await bench.passUntil(() => bench.backlog() === 0);
  expect(pushed.toSorted()).toEqual(['first!', 'last!', 'second try!']);
});
