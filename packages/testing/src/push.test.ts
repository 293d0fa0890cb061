import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OAuth2Client } from 'google-auth-library';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { BrokerServer, type BrokerServerOptions } from './broker-server.ts';
import { clientOf } from './google-fixture.ts';
import { ManualClock } from './manual-clock.ts';
import { type Json, overRest } from './pubsub-wire.ts';
import { PushReceiver, type ReceivedPush } from './push-receiver.ts';

// Real: a broker on a port, and the endpoints it pushes to.

const topic = 'projects/test/topics/news';
const name = 'projects/test/subscriptions/reader';

interface Message {
  readonly data?: string;
  readonly attributes?: Record<string, string>;
  readonly orderingKey?: string;
}

/** A broker with a topic, time by hand, and calls to it over its REST. */
class Bench {
  readonly clock = new ManualClock();
  server!: BrokerServer;
  readonly #options: BrokerServerOptions;

  private constructor(options: BrokerServerOptions) {
    this.#options = { clock: this.clock, ...options };
  }

  static async open(options: BrokerServerOptions = {}): Promise<Bench> {
    const bench = new Bench(options);
    await bench.start();
    onTestFinished(() => bench.server[Symbol.asyncDispose]());
    await bench.call('CreateTopic', { name: topic });
    return bench;
  }

  async start(): Promise<void> {
    this.server = await BrokerServer.open(this.#options);
  }

  call(rpc: string, request: Json): Promise<Json> {
    return overRest(this.server.url).call(rpc, request);
  }

  subscribe(pushConfig: Json, more: Json = {}): Promise<Json> {
    return this.call('CreateSubscription', { name, topic, pushConfig, ...more });
  }

  async publish(...messages: readonly (string | Message)[]): Promise<void> {
    const encoded = messages.map((each) => (typeof each === 'string' ? { data: each } : each));
    await this.call('Publish', {
      topic,
      messages: encoded.map(({ data = '', ...rest }) => ({ data: Buffer.from(data).toString('base64'), ...rest })),
    });
  }

  get leased(): number {
    return this.server.broker.subscription(name).leases.size;
  }

  /** Lets time pass while nothing is under way, so that what is under way is in time. */
  async passUntil(isSo: () => boolean): Promise<void> {
    const look = () => {
      if (this.leased === 0) this.clock.advance(1_000);
      return isSo();
    };
    await expect.poll(look, { interval: 5 }).toBe(true);
  }

  /** What is not settled. */
  backlog(of = name): number {
    return this.server.broker.subscription(of).backlog();
  }
}

async function receiver(onPush?: (push: ReceivedPush) => void): Promise<PushReceiver> {
  const opened = await PushReceiver.open();
  onTestFinished(() => opened[Symbol.asyncDispose]());
  if (onPush) opened.onPush = onPush;
  return opened;
}

const texts = (count: number) => Array.from({ length: count }, (_each, index) => `message ${index}`);
const ack = (push: ReceivedPush) => push.answer(204);

test('a push is Pub/Sub’s envelope, with both spellings, ordering key and attributes', async () => {
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
  const elsewhere = await receiver(ack);
  const endpoint = await receiver(({ response }) => void response.writeHead(307, { location: elsewhere.url }).end());
  await bench.subscribe({ pushEndpoint: endpoint.url });
  await bench.publish('one');
  await bench.passUntil(() => endpoint.count > 2);
  expect(elsewhere.count).toBe(0);
  expect(bench.backlog()).toBe(1);
});

test('a 102 acks at once, though the endpoint goes on', async () => {
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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

test('an endpoint that closes a connection as it is used again loses nothing, and costs no attempt', async () => {
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open();
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
  const bench = await Bench.open({ path: join(folder, 'broker.db') });
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

test('its tokens verify by what the broker’s OpenID discovery says, and are renewed before their hour ends', async () => {
  const { port } = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const bench = await Bench.open({ port, issuer });
  const endpoint = await receiver();
  const serviceAccountEmail = 'pusher@test.iam.gserviceaccount.com';
  await bench.subscribe({ pushEndpoint: endpoint.url, oidcToken: { serviceAccountEmail } });
  const tokenOfNext = async () => {
    await bench.publish('one');
    await expect.poll(() => endpoint.waiting.length).toBe(1);
    const token = /^Bearer (\S+)$/.exec(endpoint.waiting[0]!.headers.authorization ?? '')![1]!;
    endpoint.answer(200);
    await expect.poll(() => bench.backlog()).toBe(0);
    return token;
  };
  const token = await tokenOfNext();
  const discovered = (await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()) as Record<
    string,
    string
  >;
  expect(discovered.issuer).toBe(issuer);
  const keys = createRemoteJWKSet(new URL(discovered.jwks_uri!));
  const at = () => new Date(bench.clock.now());
  const options = { issuer, audience: endpoint.url, algorithms: ['RS256'], currentDate: at() };
  const { payload } = await jwtVerify(token, keys, options);
  const issuedAt = Math.floor(Date.UTC(2026, 0, 1) / 1000);
  expect(payload).toEqual({
    aud: endpoint.url,
    azp: payload.sub,
    email: serviceAccountEmail,
    email_verified: true,
    exp: issuedAt + 3600,
    iat: issuedAt,
    iss: issuer,
    sub: expect.stringMatching(/^1\d{20}$/),
  });
  expect(decodeProtectedHeader(token)).toEqual({ alg: 'RS256', kid: expect.any(String), typ: 'JWT' });

  bench.clock.advance(45 * 60_000);
  expect(await tokenOfNext()).toBe(token);
  bench.clock.advance(10 * 60_000);
  const renewed = await tokenOfNext();
  expect(renewed).not.toBe(token);
  await jwtVerify(renewed, keys, { ...options, currentDate: at() });
  await bench.call('ModifyPushConfig', {
    subscription: name,
    pushConfig: { pushEndpoint: endpoint.url, oidcToken: { serviceAccountEmail, audience: 'someone' } },
  });
  await jwtVerify(await tokenOfNext(), keys, { ...options, audience: 'someone', currentDate: at() });
});

test('a receiver written for Google verifies the token with Google’s library, told where the keys are', async () => {
  await using server = await BrokerServer.open();
  const verifier = new OAuth2Client({
    endpoints: { oauth2FederatedSignonPemCertsUrl: `${server.url}/oauth2/v1/certs` },
  });
  const emails: (string | undefined)[] = [];
  const endpoint = await receiver(async (push) => {
    const idToken = push.headers.authorization!.replace('Bearer ', '');
    const ticket = await verifier.verifyIdToken({ idToken, audience: 'https://receiver.example' });
    emails.push(ticket.getPayload()!.email);
    push.answer(200);
  });
  const client = clientOf(server);
  const [news] = await client.createTopic('news');
  const serviceAccountEmail = 'pusher@test.iam.gserviceaccount.com';
  const [subscription] = await news.createSubscription('reader', {
    pushConfig: {
      pushEndpoint: endpoint.url,
      oidcToken: { serviceAccountEmail, audience: 'https://receiver.example' },
    },
  });
  expect((await subscription.getMetadata())[0].pushConfig).toMatchObject({
    pushEndpoint: endpoint.url,
    attributes: { 'x-goog-version': 'v1' },
    oidcToken: { serviceAccountEmail },
  });
  await news.publishMessage({ data: Buffer.from('hello') });
  await expect.poll(() => emails).toEqual([serviceAccountEmail]);
  await expect.poll(() => server.broker.subscription(name).backlog()).toBe(0);
  await client.close();
});

async function freePort(): Promise<{ port: number }> {
  await using endpoint = await PushReceiver.open();
  return { port: Number(new URL(endpoint.url).port) };
}

test('what a subscription’s function makes of a message is pushed; null is settled, and a failure comes again', async () => {
  const bench = await Bench.open();
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
