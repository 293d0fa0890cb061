import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Explanation, Fate, SubscriptionView } from '@dormouse/broker';
import { expect, onTestFinished, test } from 'vitest';
import { BrokerServer } from './broker-server.ts';
import { ManualClock } from './manual-clock.ts';
import { type Json, overRest } from './pubsub-wire.ts';
import { PushReceiver } from './push-receiver.ts';

// The broker's own routes, over its REST, with time by hand.

const topic = 'projects/test/topics/news';
const nameOf = (id: string) => `projects/test/subscriptions/${id}`;
const at = (ms: number) => new Date(Date.UTC(2026, 0, 1) + ms).toISOString();

interface Received {
  readonly ackId: string;
  readonly message: { readonly messageId: string };
}

class Bench {
  readonly clock = new ManualClock();
  readonly #path: string;
  server!: BrokerServer;

  private constructor(path: string) {
    this.#path = path;
  }

  static async open(more: Json = {}): Promise<Bench> {
    const folder = mkdtempSync(join(tmpdir(), 'dormouse-admin-'));
    const bench = new Bench(join(folder, 'broker.db'));
    await bench.start();
    onTestFinished(async () => {
      await bench.server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });
    await bench.call('CreateTopic', { name: topic, ...more });
    return bench;
  }

  async start(): Promise<void> {
    this.server = await BrokerServer.open({ path: this.#path, clock: this.clock });
  }

  async restart(): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.start();
  }

  call(rpc: string, request: Json): Promise<Json> {
    return overRest(this.server.url).call(rpc, request);
  }

  subscribe(id: string, more: Json = {}): Promise<Json> {
    return this.call('CreateSubscription', { name: nameOf(id), topic, ...more });
  }

  /** Their ids. */
  async publish(...messages: readonly Json[]): Promise<string[]> {
    const encoded = messages.map((each) => ({ data: 'eA==', ...each }));
    return (await this.call('Publish', { topic, messages: encoded })).messageIds as string[];
  }

  async pull(id: string, maxMessages: number): Promise<readonly Received[]> {
    const request = { subscription: nameOf(id), maxMessages, returnImmediately: true };
    return ((await this.call('Pull', request)).receivedMessages ?? []) as Received[];
  }

  async settle(id: string, rpc: 'Acknowledge' | 'ModifyAckDeadline', received: readonly Received[]): Promise<void> {
    const ackIds = received.map(({ ackId }) => ackId);
    await this.call(rpc, {
      subscription: nameOf(id),
      ackIds,
      ...(rpc === 'ModifyAckDeadline' && { ackDeadlineSeconds: 0 }),
    });
  }

  async admin<T>(path: string, method = 'GET'): Promise<T> {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${this.server.url}/admin/${path}`, { method, headers });
    return (await response.json()) as T;
  }

  view(id: string): Promise<SubscriptionView> {
    return this.admin(nameOf(id));
  }

  /** What became of a message, by the subscriptions' ids. */
  async fates(messageId: string): Promise<Record<string, Omit<Fate, 'subscription'>>> {
    const { subscriptions } = await this.admin<Explanation>(`messages/${messageId}`);
    return Object.fromEntries(
      subscriptions.map(({ subscription, ...fate }) => [subscription.slice(nameOf('').length), fate]),
    );
  }
}

test('of a message each subscription tells what became of it, and why', async () => {
  const bench = await Bench.open({ messageRetentionDuration: `${10 * 86_400}s` });
  await bench.subscribe('acks');
  await bench.subscribe('filters', { filter: 'attributes:kind AND attributes.kind != "b"' });
  await bench.subscribe('holds', { ackDeadlineSeconds: 30 });
  await bench.subscribe('nacks', { retryPolicy: { minimumBackoff: '60s' } });
  await bench.subscribe('nobody');
  const [id = ''] = await bench.publish({ attributes: { kind: 'b' } });
  await bench.subscribe('late');
  await bench.settle('acks', 'Acknowledge', await bench.pull('acks', 1));
  await bench.pull('holds', 1);
  await bench.settle('nacks', 'ModifyAckDeadline', await bench.pull('nacks', 1));
  expect(await bench.fates(id)).toEqual({
    acks: { state: 'acked', because: 'it was acked', attempts: 1, at: at(0) },
    filters: { state: 'filtered out', because: 'its attributes do not fit attributes.kind != "b"' },
    holds: { state: 'leased', because: expect.stringContaining('has it'), attempts: 1, until: at(30_000) },
    nacks: { state: 'waiting', because: expect.stringContaining('backoff'), attempts: 1, until: at(60_000) },
    nobody: { state: 'ready', because: 'nobody pulls' },
    late: { state: 'settled', because: 'it was published before the subscription was made' },
  });
  expect(await bench.admin(`messages/${id}`)).toMatchObject({ messageId: id, topic, publishTime: at(0), inLog: true });

  // The times of acks are in memory only.
  await bench.restart();
  expect((await bench.fates(id)).acks).toEqual({
    state: 'settled',
    because: expect.stringContaining('not remembered'),
  });
  expect(await bench.fates(id)).toMatchObject({ holds: { state: 'ready' }, nacks: { state: 'waiting', attempts: 1 } });
  bench.clock.advance(8 * 86_400_000);
  expect(await bench.fates(id)).toMatchObject({ nobody: { state: 'not retained' }, nacks: { state: 'not retained' } });
});

test('what is behind another of its ordering key says behind which, and that one’s key is shown as blocked', async () => {
  const bench = await Bench.open();
  await bench.subscribe('ordered', { enableMessageOrdering: true, retryPolicy: { minimumBackoff: '30s' } });
  const [first = '', second = '', third = ''] = await bench.publish(...[1, 2, 3].map(() => ({ orderingKey: 'k' })));
  await bench.publish({ orderingKey: 'alone' });
  await bench.settle('ordered', 'Acknowledge', await bench.pull('ordered', 1));
  const held = (await bench.pull('ordered', 5)).filter(({ message }) => message.messageId === second);
  expect(held).toHaveLength(1);
  const because = `message ${second} of its ordering key "k" comes first, which is leased`;
  expect((await bench.fates(third)).ordered).toEqual({ state: 'waiting', because, until: at(10_000) });
  expect((await bench.view('ordered')).blockedKeys).toEqual([
    { orderingKey: 'k', messageId: second, because: 'leased', until: at(10_000) },
  ]);
  await bench.settle('ordered', 'ModifyAckDeadline', held);
  expect((await bench.fates(third)).ordered).toMatchObject({
    because: expect.stringContaining('backoff'),
    until: at(30_000),
  });
  expect((await bench.view('ordered')).blockedKeys).toMatchObject([{ messageId: second, because: 'backing off' }]);
  expect((await bench.fates(first)).ordered).toMatchObject({ state: 'acked' });
});

test('what was dead-lettered says as which message it went on; what all have settled is told while it is remembered', async () => {
  const bench = await Bench.open();
  const dead = 'projects/test/topics/dead';
  await bench.call('CreateTopic', { name: dead });
  await bench.call('CreateSubscription', { name: nameOf('dead'), topic: dead });
  await bench.subscribe('worker', { deadLetterPolicy: { deadLetterTopic: dead, maxDeliveryAttempts: 5 } });
  const [id = ''] = await bench.publish({});
  for (let attempt = 1; attempt <= 5; attempt++) {
    await bench.settle('worker', 'ModifyAckDeadline', await bench.pull('worker', 1));
  }
  const { worker } = await bench.fates(id);
  expect(worker).toMatchObject({ state: 'dead-lettered', attempts: 5, at: at(0) });
  const forwarded = /message (\d+)/.exec(worker!.because)![1]!;
  expect(await bench.fates(forwarded)).toEqual({ dead: { state: 'ready', because: 'nobody pulls' } });

  // A second later it is removed from the log.
  bench.clock.advance(1_000);
  await expect.poll(() => bench.admin(`messages/${id}`)).toMatchObject({ inLog: false });
  expect(await bench.fates(id)).toEqual({ worker });
  await bench.restart();
  expect(await bench.admin(`messages/${id}`)).toMatchObject({ error: { code: 404, status: 'NOT_FOUND' } });
  for (const unknown of ['1', 'x', '9'.repeat(30), '%25']) {
    expect(await bench.admin(`messages/${unknown}`)).toMatchObject({ error: { code: 404 } });
  }
});

test('a subscription shows its backlog and age, what is out, what backs off, and how often it was tried', async () => {
  const bench = await Bench.open();
  await bench.subscribe('reader', { filter: 'attributes:wanted', retryPolicy: { minimumBackoff: '20s' } });
  await bench.publish({ attributes: { other: '' } });
  bench.clock.advance(1_000);
  await bench.publish(...Array.from({ length: 6 }, () => ({ attributes: { wanted: '' } })));
  bench.clock.advance(4_000);
  await bench.settle('reader', 'ModifyAckDeadline', await bench.pull('reader', 2));
  bench.clock.advance(20_000);
  const again = await bench.pull('reader', 6);
  await bench.settle('reader', 'Acknowledge', again.slice(0, 1));
  await bench.settle('reader', 'ModifyAckDeadline', again.slice(5));
  const view = await bench.view('reader');
  expect(view).toMatchObject({
    name: nameOf('reader'),
    topic,
    state: 'pulled',
    backlog: { messages: 5, oldestPublishTime: at(1_000), oldestAgeSeconds: 24 },
    leased: { messages: 4, firstExpiresAt: at(35_000) },
    backingOff: { messages: 1, firstDueAt: expect.any(String) },
    blockedKeys: [],
  });
  expect(Object.keys(view.attempts)).toEqual(['1', '2']);
  expect(view.attempts[1]! + view.attempts[2]!).toBe(5);
  expect(await bench.admin('subscriptions')).toEqual({ subscriptions: [view] });
});

test('a backlog beyond ten thousand is counted no further', async () => {
  const bench = await Bench.open();
  await bench.subscribe('reader');
  for (let n = 0; n < 11; n++) await bench.publish(...Array.from({ length: 1000 }, () => ({})));
  expect((await bench.view('reader')).backlog).toMatchObject({ messages: 10_000, atLeast: true });
});

test('a push subscription shows its endpoint without secrets, its window, its failure and its pause, and so do its messages', async () => {
  const bench = await Bench.open();
  await using endpoint = await PushReceiver.open();
  await bench.subscribe('pushed', { pushConfig: { pushEndpoint: endpoint.url.replace('from=', 'token=') } });
  const ids = await bench.publish(...Array.from({ length: 6 }, () => ({})));
  await expect.poll(() => endpoint.waiting.length).toBe(4);
  const shown = { endpoint: new URL('/push', endpoint.url).href, window: 4, outstanding: 4 };
  expect((await bench.view('pushed')).push).toEqual(shown);
  expect(await bench.fates(ids[0]!)).toMatchObject({
    pushed: { state: 'leased', because: expect.stringContaining('pushed') },
  });
  expect(await bench.fates(ids[5]!)).toMatchObject({
    pushed: { state: 'waiting', because: expect.stringContaining('window is 4') },
  });
  endpoint.answer(503);
  await expect.poll(async () => (await bench.view('pushed')).leased.messages).toBe(0);
  const failure = { at: at(0), reason: 'HTTP 503' };
  expect((await bench.view('pushed')).push).toMatchObject({ window: 1, outstanding: 0, pausedUntil: at(100), failure });
  expect(await bench.fates(ids[5]!)).toMatchObject({
    pushed: { state: 'waiting', because: expect.stringContaining('HTTP 503'), until: at(100) },
  });
});

test('a paused subscription gives out nothing, also after a restart, and goes on where it was', async () => {
  const bench = await Bench.open();
  await using endpoint = await PushReceiver.open();
  await bench.subscribe('pushed', { pushConfig: { pushEndpoint: endpoint.url } });
  await bench.subscribe('pulled', { retryPolicy: { minimumBackoff: '10s' } });
  const before = await bench.call('GetSubscription', { subscription: nameOf('pulled') });
  const [id = ''] = await bench.publish({}, {});
  await expect.poll(() => endpoint.waiting.length).toBe(2);
  const [held] = await bench.pull('pulled', 1);
  for (const each of ['pushed', 'pulled']) {
    expect(await bench.admin(`${nameOf(each)}:pause`, 'POST')).toMatchObject({ name: nameOf(each), state: 'paused' });
  }
  expect(await bench.call('GetSubscription', { subscription: nameOf('pulled') })).toEqual(before);
  // What is out is settled as ever.
  await bench.settle('pulled', 'ModifyAckDeadline', [held!]);
  endpoint.answer(503);
  await expect.poll(async () => (await bench.view('pushed')).leased.messages).toBe(0);
  bench.clock.advance(60_000);
  expect(await bench.pull('pulled', 10)).toEqual([]);
  await bench.restart();
  await bench.publish({});
  bench.clock.advance(60_000);
  expect(await bench.pull('pulled', 10)).toEqual([]);
  expect(endpoint.count).toBe(2);
  expect(await bench.fates(id)).toMatchObject({ pulled: { state: 'waiting', because: 'the subscription is paused' } });

  for (const each of ['pushed', 'pulled']) await bench.admin(`${nameOf(each)}:resume`, 'POST');
  await expect.poll(() => endpoint.waiting.length).toBe(3);
  expect(await bench.pull('pulled', 10)).toHaveLength(3);
  expect(await bench.view('pulled')).toMatchObject({ state: 'pulled' });
});

test('every message is found by its id, over restarts and where others were removed, and no other is', async () => {
  const bench = await Bench.open();
  await bench.subscribe('reader');
  const ids: string[] = [];
  for (let run = 0; run < 6; run++) {
    for (let n = 0; n < 1 + run * 7; n++) ids.push(...(await bench.publish({})));
    const pulled = await bench.pull('reader', 2);
    await bench.settle('reader', 'Acknowledge', pulled);
    for (const { message } of pulled) ids.splice(ids.indexOf(message.messageId), 1);
    await bench.restart();
    bench.clock.advance(2_000);
  }
  for (const id of ids) {
    expect(await bench.admin(`messages/${id}`)).toMatchObject({ messageId: id, inLog: true });
    const other = String(BigInt(id) + 500n);
    expect(await bench.admin(`messages/${other}`)).toMatchObject({ error: { status: 'NOT_FOUND' } });
  }
});

test.each([
  ['GET', 'nothing', 404],
  ['POST', 'subscriptions', 404],
  ['GET', nameOf('missing'), 404],
  ['POST', `${nameOf('missing')}:pause`, 404],
  ['GET', `${nameOf('missing')}:pause`, 404],
  ['GET', 'projects/test/subscriptions/%', 400],
])('%s /admin/%s is answered %d, in Google’s shape', async (method, path, code) => {
  const bench = await Bench.open();
  expect(await bench.admin(path, method)).toMatchObject({ error: { code, message: expect.any(String) } });
});

test('no web page reaches it', async () => {
  const bench = await Bench.open();
  const response = await fetch(`${bench.server.url}/admin/subscriptions`, {
    headers: { origin: 'https://evil.example' },
  });
  expect(response.status).toBe(400);
});
