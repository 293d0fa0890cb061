import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker, Database } from '@dormouse/broker';
import { traceOf } from '@dormouse/console';
import {
  createEndpoint,
  type DeadLetter,
  deliveryOf,
  type Endpoint,
  firing,
  type Handler,
  on,
  PermanentError,
  type Step,
  service,
  topic,
  workflow,
} from '@dormouse/core';
import {
  FileBlobStore,
  LockFile,
  publishingTo,
  Retention,
  type RetentionSettings,
  SqliteStateStore,
} from '@dormouse/local';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { ManualClock } from './manual-clock.ts';
import { quiet, servicePorts } from './service-ports.ts';
import { testEvent } from './test-event.ts';

const news = topic('news', { schema: z.object({ n: z.number() }) });
const order = topic('order', { schema: z.object({ do: z.string(), id: z.string().optional() }) });
const thing = workflow<{ status: string; n: number }>({ idPrefix: 'WF' });
const wf = 'workflows/WF-1';
const day = 86_400_000;
const all: RetentionSettings = { inboxMs: 30 * day, logMs: 7 * day, journalMs: 30 * day, filesMs: 30 * day };

/** Two readers of one topic and an operator, over one real file, with time by hand and nobody who pushes by himself. */
class Bench implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly folder = mkdtempSync(join(tmpdir(), 'dormouse-retention-'));
  readonly blobs = new FileBlobStore(join(this.folder, 'files'));
  readonly runs: string[] = [];
  readonly handlers: Record<'ada' | 'bob', Handler<{ n: number }>> = { ada: async () => {}, bob: async () => {} };
  operator: Handler<z.infer<typeof order.schema>> = async () => {};
  database!: Database;
  broker!: Broker;
  store!: SqliteStateStore;
  #endpoints!: Map<string, Endpoint>;
  #count = 0;

  static async open(): Promise<Bench> {
    const bench = new Bench();
    bench.start();
    for (const { name } of [news, order, topic('dead.letter', { schema: z.unknown() })]) {
      await bench.broker.createTopic({ name: `projects/test/topics/${name}` });
    }
    for (const [name, of] of [
      ['ada.news', news],
      ['bob.news', news],
      ['desk.order', order],
    ] as const) {
      await bench.broker.createSubscription({
        name: `projects/test/subscriptions/${name}`,
        topic: `projects/test/topics/${of.name}`,
        filter: `NOT attributes:dormouse-to OR attributes.dormouse-to = "${name}"`,
      });
    }
    const write = { ref: wf, data: { id: 'WF-1', status: 'open', n: 0 } };
    await bench.store.commit({ tenant: 'default', reads: [], writes: [write], entries: [], journal: [], publish: [] });
    return bench;
  }

  start(): void {
    this.database = new Database(join(this.folder, 'dormouse.db'));
    this.broker = new Broker(this.database, this.clock, { tidies: false });
    this.store = new SqliteStateStore({
      database: this.database,
      ...publishingTo(this.broker, (name) => `projects/test/topics/${name}`),
      system: 'test',
      audit: false,
      closedStatuses: ['closed'],
      now: this.clock.now,
    });
    const ports = { ...servicePorts(this.store, this.clock), blobs: this.blobs };
    const endpointOf = (name: string, subscription: Parameters<typeof service>[1][number]) =>
      createEndpoint(service(name, [subscription]), ports);
    const reader = (name: 'ada' | 'bob') =>
      endpointOf(
        name,
        on(news, (event, step) => this.handlers[name](event, step)),
      );
    this.#endpoints = new Map([
      ['ada.news', reader('ada')],
      ['bob.news', reader('bob')],
      [
        'desk.order',
        endpointOf(
          'desk',
          on(order, (event, step) => this.operator(event, step)),
        ),
      ],
    ]);
  }

  async restart(): Promise<void> {
    this.broker.close();
    await this.database.close();
    this.start();
  }

  /** A message from outside. Without `id`, a new one. */
  async publish(to: typeof news | typeof order, data: unknown, id = `E${++this.#count}`): Promise<void> {
    const said = { id, type: to.name, subject: wf, time: this.clock.now(), dataschema: undefined, data };
    const message = testEvent(said);
    await this.broker.publish(`projects/test/topics/${to.name}`, [message]);
  }

  /** Due timers fire, and whoever is named takes all there is. `lose`: their acks never reach the broker. */
  async work(names = ['ada.news', 'bob.news', 'desk.order'], { lose = false } = {}): Promise<void> {
    for (const timer of await this.store.due(this.clock.now(), 100)) await this.store.commit(firing(timer));
    for (const name of names) {
      const subscription = this.broker.subscription(`projects/test/subscriptions/${name}`);
      for (const { message } of this.broker.deliveries.lease(subscription, 100)) {
        await this.#endpoints.get(name)!.deliver(deliveryOf(name, message));
        if (!lose) this.broker.deliveries.ack(subscription, message.position);
      }
    }
    await this.database.write(() => {});
  }

  /** So many days later, in steps that let every retry run. */
  async pass(days: number): Promise<void> {
    this.clock.advance(days * day);
    await this.work();
  }

  prune(settings: Partial<RetentionSettings> = {}) {
    const { database, broker, store, clock } = this;
    const directory = { join: (...names: string[]) => join(this.folder, ...names) };
    return new Retention({
      directory,
      database,
      broker,
      store,
      clock,
      log: quiet,
      settings: { ...all, ...settings },
    }).round();
  }

  count(sql: string): number {
    return Number(Object.values(this.database.prepare(`SELECT count(*) FROM ${sql}`).get()!)[0]);
  }

  async deadLetters(): Promise<DeadLetter[]> {
    return (await this.store.find({ collection: 'dead-letters' })).documents.map(
      ({ data }) => data as unknown as DeadLetter,
    );
  }

  trace() {
    const idle = { backlog: 0, paused: false, ordered: false, undeclared: false };
    const topics = [
      { name: 'news', subscriptions: ['ada.news', 'bob.news'].map((name) => ({ name, ...idle })) },
      { name: 'order', subscriptions: [{ name: 'desk.order', ...idle }] },
    ];
    return traceOf(this.store, wf, topics, []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.broker.close();
    await this.database.close();
    rmSync(this.folder, { recursive: true });
  }
}

test('messages go when all have settled them and their time is over, and no sooner', async () => {
  await using bench = await Bench.open();
  for (let n = 0; n < 250; n++) await bench.publish(news, { n });
  await bench.work(['ada.news']);
  bench.clock.advance(8 * day);
  expect(await bench.prune()).toMatchObject({ messages: 0 });
  await bench.work(['bob.news']);
  await bench.work(['ada.news', 'bob.news']);
  await bench.work(['ada.news', 'bob.news']);
  await bench.publish(news, { n: 250 });
  await bench.work();
  expect(await bench.prune()).toMatchObject({ messages: 250 });
  expect(bench.count('batch')).toBe(1);
  bench.clock.advance(8 * day);
  expect(await bench.prune()).toMatchObject({ messages: 1 });
});

test('what nobody has settled is kept, however old, and is delivered after a restart', async () => {
  await using bench = await Bench.open();
  const taken: number[] = [];
  bench.handlers.bob = async ({ data }) => void taken.push(data.n);
  await bench.publish(news, { n: 1 });
  await bench.publish(news, { n: 2 });
  await bench.work(['ada.news']);
  bench.clock.advance(400 * day);
  expect(await bench.prune()).toMatchObject({ messages: 0, documents: 0 });
  await bench.restart();
  await bench.work();
  expect(taken).toEqual([1, 2]);
});

test('what its filter hides from a subscription does not keep messages', async () => {
  await using bench = await Bench.open();
  bench.handlers.ada = async (_event, step) => {
    if (step.attempt === 1) throw new Error('once');
  };
  await bench.publish(news, { n: 1 });
  await bench.work();
  // The retry is addressed to `ada`; nothing ever comes for `bob` again.
  await bench.pass(1);
  await bench.work();
  bench.clock.advance(8 * day);
  await bench.work();
  expect(await bench.prune()).toMatchObject({ messages: 2 });
});

test('a delivery that comes again is settled once, however much later, and its memory goes when it cannot come again', async () => {
  await using bench = await Bench.open();
  let runs = 0;
  bench.handlers.ada = async () => void runs++;
  await bench.publish(news, { n: 1 });
  await bench.work(['ada.news'], { lose: true });
  await bench.work(['bob.news']);
  bench.clock.advance(100 * day);
  expect(await bench.prune()).toMatchObject({ messages: 0, documents: 0 });
  await bench.restart();
  expect(bench.broker.subscription('projects/test/subscriptions/ada.news').backlog()).toBe(1);
  // The lease that was lost is a backoff by now.
  bench.clock.advance(1_000);
  await bench.work();
  expect(bench.broker.subscription('projects/test/subscriptions/ada.news').backlog()).toBe(0);
  expect(runs).toBe(1);
  expect(await bench.prune()).toMatchObject({ messages: 1, documents: 2 });
  expect(bench.count("document WHERE collection = 'inbox'")).toBe(0);
});

test('a redrive after months takes the recorded result of its activity; both go when it is settled', async () => {
  await using bench = await Bench.open();
  const asked: string[] = [];
  let broken = true;
  bench.handlers.ada = async (_event, step) => {
    await step.run('ask', {}, async (_input, { idempotencyKey }) => void asked.push(idempotencyKey));
    if (broken) throw new PermanentError('no');
  };
  bench.operator = async ({ data }, step: Step) => step.redrive(data.id!);
  await bench.publish(news, { n: 1 });
  await bench.work();
  const [letter] = await bench.deadLetters();
  await bench.pass(100);
  await bench.prune();
  expect(bench.count("document WHERE collection = 'activities'")).toBe(1);

  broken = false;
  await bench.publish(order, { do: 'redrive', id: letter!.id });
  await bench.work(['desk.order', 'ada.news', 'bob.news']);
  expect(asked).toHaveLength(1);
  expect((await bench.deadLetters())[0]).toMatchObject({ state: 'resolved' });
  await bench.pass(40);
  await bench.prune();
  expect(bench.count("document WHERE collection IN ('activities', 'inbox')")).toBe(0);
});

test('a consumed timer stays while a delivery of its message may be redriven, then goes', async () => {
  await using bench = await Bench.open();
  const taken: number[] = [];
  let broken = true;
  bench.operator = async ({ data }, step: Step) => {
    if (data.do === 'set') step.publish(news, { n: 7 }, { after: '1d', timer: 'later' });
    else await step.redrive(data.id!);
  };
  bench.handlers.bob = async ({ data }) => {
    if (broken) throw new PermanentError('no');
    taken.push(data.n);
  };
  await bench.publish(order, { do: 'set' });
  await bench.work();
  await bench.pass(1);
  const [letter] = await bench.deadLetters();
  await bench.pass(100);
  await bench.prune();
  expect(bench.count("document WHERE collection = 'timers/WF-1/named'")).toBe(1);

  broken = false;
  await bench.publish(order, { do: 'redrive', id: letter!.id });
  await bench.work(['desk.order', 'ada.news', 'bob.news']);
  expect(taken).toEqual([7]);
  await bench.pass(40);
  await bench.prune();
  expect(bench.count("document WHERE collection = 'timers/WF-1/named'")).toBe(0);
});

test('a timer that still waits is never removed', async () => {
  await using bench = await Bench.open();
  const taken: number[] = [];
  bench.operator = async (_event, step: Step) => step.publish(news, { n: 9 }, { after: '300d', timer: 'later' });
  bench.handlers.ada = async ({ data }) => void taken.push(data.n);
  await bench.publish(order, { do: 'set' });
  await bench.work();
  await bench.pass(200);
  await bench.prune();
  await bench.pass(101);
  expect(taken).toEqual([9]);
});

test('failed attempts go when their delivery is settled, the log never; the trace says that they went', async () => {
  await using bench = await Bench.open();
  let broken = true;
  bench.operator = async (_event, step: Step) => step.publish(news, { n: 1 });
  bench.handlers.ada = async (_event, step) => {
    if (step.attempt === 1) throw new Error('once');
  };
  bench.handlers.bob = async () => {
    if (broken) throw new PermanentError('no');
  };
  await bench.publish(order, { do: 'publish' });
  await bench.work(['desk.order', 'ada.news', 'bob.news']);
  await bench.pass(1);
  await bench.work();
  const entries = bench.count('entry WHERE chain IS NOT NULL');
  await bench.pass(60);
  expect(await bench.prune()).toMatchObject({ journal: 1 });
  const { rows, removed } = await bench.trace();
  expect(removed).toEqual({ journalBefore: bench.clock.now() - 30 * day });
  const ofNews = rows.filter(({ topic }) => topic === 'news');
  expect(ofNews.map(({ to, status, attempts, errors }) => [to, status, attempts, errors.length])).toEqual([
    ['ada', 'done', 2, 0],
    // Nobody has dealt with it: its cause stays.
    ['bob', 'dead-lettered', 1, 1],
  ]);
  expect(bench.count('entry WHERE chain IS NOT NULL')).toBe(entries);
  broken = false;
});

test('files go with a workflow that is over, not while something of it waits, and not while a backup is made', async () => {
  await using bench = await Bench.open();
  bench.operator = async ({ data }, step: Step) => {
    const found = await step.workflow(thing);
    if (data.do === 'file') await step.files.put('letter.txt', 'hello');
    else if (data.do === 'later') step.publish(news, { n: 1 }, { after: '200d', timer: 'later' });
    else found.update({ status: data.do });
  };
  const after = async (what: string, days: number) => {
    await bench.publish(order, { do: what });
    await bench.work();
    await bench.pass(days);
  };
  const files = join(bench.folder, 'files', 'WF-1');
  await after('file', 100);
  expect(await bench.prune()).toMatchObject({ files: 0 });
  await after('later', 0);
  await after('closed', 100);
  expect(await bench.prune()).toMatchObject({ files: 0 });
  await bench.pass(101);
  const backup = LockFile.take(join(bench.folder, 'files.lock'))!;
  expect(await bench.prune()).toMatchObject({ files: 0 });
  expect(existsSync(files)).toBe(true);
  backup.release();
  expect(await bench.prune()).toMatchObject({ files: 1 });
  expect(existsSync(files)).toBe(false);
  expect((await bench.trace()).removed).toMatchObject({ filesAt: expect.any(Number) });
  expect(await bench.prune()).toMatchObject({ files: 0 });
});

test('what a killed write left of a file goes after a day, what is being written stays', async () => {
  await using bench = await Bench.open();
  await bench.blobs.put('WF-1/letter.txt', Buffer.from('hello'));
  const [folder] = readdirSync(join(bench.folder, 'files')).filter((name) => name.startsWith('.'));
  const [killed, alive] = ['.killed', '.alive'].map((name) => join(bench.folder, 'files', folder!, name));
  for (const file of [killed!, alive!]) writeFileSync(file, 'hel');
  utimesSync(killed!, 0, (bench.clock.now() - day - 1) / 1000);
  utimesSync(alive!, 0, (bench.clock.now() - day) / 1000);
  expect(await bench.prune()).toMatchObject({ unfinished: 1 });
  expect([killed, alive].map((file) => existsSync(file!))).toEqual([false, true]);
  expect(Buffer.from(await bench.blobs.get('WF-1/letter.txt')).toString()).toBe('hello');
});

test('with everything off, nothing is removed', async () => {
  await using bench = await Bench.open();
  await bench.publish(news, { n: 1 });
  await bench.work();
  await bench.pass(1000);
  const off = { inboxMs: undefined, logMs: undefined, journalMs: undefined, filesMs: undefined };
  expect(await bench.prune(off)).toEqual({ messages: 0, documents: 0, journal: 0, files: 0, unfinished: 0 });
  expect(bench.count("document WHERE collection = 'inbox'")).toBe(2);
});
