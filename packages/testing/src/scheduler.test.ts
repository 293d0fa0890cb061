// Real: SQLite, the broker's log.
import { Broker, Database, messagesIn } from '@dormouse/broker';
import { Relay, timersAtATime } from '@dormouse/core';
import { publishingTo, Scheduler, SqliteStateStore, type TimerStore } from '@dormouse/local';
import { expect, test } from 'vitest';
import { type SchedulerBench, schedulerSuite } from './scheduler-suite.ts';
import { SetClock } from './set-clock.ts';

const quiet = { info() {}, warn() {}, error() {} };
const topicName = (topic: string) => `projects/test/topics/${topic}`;

interface Form {
  /** Broker and store in files of their own, and a relay between them. Default: in one. */
  readonly apart?: boolean;
  /** How many look after the store. Default 1. */
  readonly schedulers?: number;
}

class LocalBench implements SchedulerBench {
  readonly clock = new SetClock();
  readonly store: SqliteStateStore;
  /** While it is set, the broker refuses what the relay brings. */
  outage: Error | undefined;
  /** While it is set, the store says nothing of what is due. */
  silence: Error | undefined;
  readonly #form: Form;
  readonly #databases: Database[];
  readonly #broker: Broker;
  readonly #relay: Relay | undefined;
  #whileSyncing: () => void = () => {};
  #schedulers: Scheduler[] = [];

  private constructor(form: Form) {
    this.#form = form;
    const open = () => new Database(':memory:', { sync: async () => this.#whileSyncing() });
    const database = open();
    this.#databases = form.apart ? [database, open()] : [database];
    this.#broker = new Broker(this.#databases.at(-1)!, this.clock, { tidies: false });
    this.store = new SqliteStateStore({
      database,
      ...(form.apart ? { declares: () => true } : publishingTo(this.#broker, topicName)),
      system: 'test',
      audit: false,
      now: this.clock.now,
    });
    const publish = async (topic: string, messages: Parameters<Broker['publish']>[1]) => {
      if (this.outage) throw this.outage;
      return this.#broker.publish(topicName(topic), messages);
    };
    this.#relay = form.apart ? new Relay(this.store, { publish }, quiet) : undefined;
  }

  get #failing(): TimerStore {
    return new Proxy(this.store, {
      get: (store, name) => {
        if (name === 'due' && this.silence) return () => Promise.reject(this.silence);
        const value = Reflect.get(store, name, store);
        return typeof value === 'function' ? value.bind(store) : value;
      },
    });
  }

  static async open(form: Form = {}): Promise<LocalBench> {
    const bench = new LocalBench(form);
    await bench.#broker.createTopic({ name: topicName('news') });
    bench.start();
    return bench;
  }

  start(): void {
    this.#schedulers = Array.from(
      { length: this.#form.schedulers ?? 1 },
      () => new Scheduler(this.#failing, this.clock, quiet, this.#relay),
    );
    this.store.onCommitted = ({ dueAt, at, unsent }) => {
      for (const scheduler of this.#schedulers) {
        if (dueAt !== undefined) scheduler.wake(dueAt, at);
        if (unsent) scheduler.expectSent();
      }
    };
    for (const scheduler of this.#schedulers) scheduler.start();
  }

  stop(): void {
    for (const scheduler of this.#schedulers) scheduler.stop();
  }

  whileSyncing(callback: () => void): void {
    this.#whileSyncing = () => {
      this.#whileSyncing = () => {};
      callback();
    };
  }

  async published(): Promise<string[]> {
    // What is on its way shares a group with this.
    await this.#databases[0]!.write(() => {});
    await expect.poll(() => this.#schedulers.some(({ isFiring }) => isFiring)).toBe(false);
    return Array.from(messagesIn(this.#databases.at(-1)!), ({ message }) => message.attributes.name!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    this.#broker.close();
    for (const database of this.#databases) await database.close();
  }
}

schedulerSuite('store and broker in one file', () => LocalBench.open());
schedulerSuite('store and broker apart', () => LocalBench.open({ apart: true }));
schedulerSuite('two of them at once', () => LocalBench.open({ schedulers: 2 }));

const left = {
  tenant: 'default',
  reads: [],
  writes: [],
  entries: [],
  journal: [],
  publish: [{ topic: 'news', attributes: { name: 'left behind' }, data: '' }],
};

test('what was committed and never sent, since whoever did so died, is sent a while later', async () => {
  await using bench = await LocalBench.open({ apart: true });
  await bench.store.commit(left);
  bench.clock.pass(9_999);
  expect(await bench.published()).toEqual([]);
  bench.clock.pass(1);
  expect(await bench.published()).toEqual(['left behind']);
  bench.clock.pass(60_000);
  expect(await bench.published()).toEqual(['left behind']);
});

test('the same where nobody looked meanwhile: it is sent at the start', async () => {
  await using bench = await LocalBench.open({ apart: true });
  bench.stop();
  await bench.store.commit(left);
  bench.start();
  expect(await bench.published()).toEqual(['left behind']);
});

test('while the broker is out it is tried again, and sent once when the broker is back', async () => {
  await using bench = await LocalBench.open({ apart: true });
  bench.outage = new Error('UNAVAILABLE');
  await bench.store.commit(left);
  for (let tries = 0; tries < 5; tries++) {
    bench.clock.pass(10_000);
    expect(await bench.published()).toEqual([]);
  }
  bench.outage = undefined;
  bench.clock.pass(10_000);
  expect(await bench.published()).toEqual(['left behind']);
  expect(await bench.store.unsent({})).toEqual([]);
});

test('what the store did not answer is asked again soon, also where a timer is set for later meanwhile', async () => {
  await using bench = await LocalBench.open();
  const set = (name: string, ms: number) => {
    const dueAt = bench.clock.now() + ms;
    const data = { name, generation: name, dueAt, message: { topic: 'news', attributes: { name }, data: '' } };
    return bench.store.commit({ ...left, publish: [], writes: [{ ref: `timers/WF-1/named/${name}`, data, dueAt }] });
  };
  await set('soon', 1_000);
  expect(await bench.published()).toEqual([]);
  bench.silence = new Error('UNAVAILABLE');
  bench.clock.pass(1_000);
  expect(await bench.published()).toEqual([]);
  bench.silence = undefined;
  await set('later', 86_400_000);
  bench.clock.pass(1_000);
  expect(await bench.published()).toEqual(['soon']);
});

test('timers that can never be fired, more than are looked at together, hold up none that are due after them', async () => {
  await using bench = await LocalBench.open();
  const commit = bench.store.commit.bind(bench.store);
  const set = (name: string, ms: number) => {
    const dueAt = bench.clock.now() + ms;
    const data = { name, generation: name, dueAt, message: { topic: 'news', attributes: { name }, data: '' } };
    return commit({ ...left, publish: [], writes: [{ ref: `timers/WF-1/named/${name}`, data, dueAt }] });
  };
  for (let n = 0; n < timersAtATime + 1; n++) await set(`poison-${n}`, 1_000);
  await set('after', 2_000);
  bench.store.commit = async (unit) => {
    if (unit.publish[0]?.attributes.name?.startsWith('poison')) throw new Error('too large');
    return commit(unit);
  };
  bench.clock.pass(2_000);
  expect(await bench.published()).toEqual(['after']);
});
