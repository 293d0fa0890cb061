import { Broker, Database } from '@dormouse/broker';
import type { Clock } from '@dormouse/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Scheduler } from './scheduler.ts';
import { SqliteStateStore } from './state-store.ts';

const second = 1_000;
const day = 86_400 * second;

/** Time by hand, and a date that can be set. */
class SetClock implements Clock {
  #time = 0;
  #date = Date.UTC(2026, 0, 1);
  #waiting = new Set<{ readonly due: () => boolean; readonly callback: () => void }>();

  readonly now = () => this.#date + this.#time;
  readonly steady = () => this.#time;
  readonly at = (time: number, callback: () => void) => this.#wait(() => this.now() >= time, callback);
  readonly after = (durationMs: number, callback: () => void) => {
    const until = this.#time + durationMs;
    return this.#wait(() => this.#time >= until, callback);
  };

  set(byMs: number): void {
    this.#date += byMs;
    this.pass(0);
  }

  pass(ms: number): void {
    this.#time += ms;
    for (const waiting of this.#waiting) {
      if (!this.#waiting.has(waiting) || !waiting.due()) continue;
      this.#waiting.delete(waiting);
      waiting.callback();
    }
  }

  #wait(due: () => boolean, callback: () => void): () => void {
    const waiting = { due, callback };
    this.#waiting.add(waiting);
    return () => this.#waiting.delete(waiting);
  }
}

let clock: SetClock;
let database: Database;
let store: SqliteStateStore;
let scheduler: Scheduler;
let whileSyncing: () => void;

beforeEach(async () => {
  clock = new SetClock();
  whileSyncing = () => {};
  database = new Database(':memory:', { sync: async () => whileSyncing() });
  const broker = new Broker(database, clock, { tidies: false });
  await broker.createTopic({ name: 'projects/test/topics/news' });
  const topicName = (topic: string) => `projects/test/topics/${topic}`;
  store = new SqliteStateStore({ database, broker, system: 'test', topicName, audit: false, now: clock.now });
  start();
});
afterEach(async () => {
  scheduler.stop();
  await database.close();
});

function start(): void {
  const log = { info() {}, warn() {}, error() {} };
  scheduler = new Scheduler(database, store, clock, log);
  store.onCommitted = ({ dueAt, at }) => dueAt !== undefined && scheduler.wake(dueAt, at);
  scheduler.start();
}

/** A timer of a handler's has a generation, and a date. A retry's has none, and a duration. */
async function wait(name: string, ms: number, generation?: string): Promise<void> {
  const dueAt = clock.now() + ms;
  const message = { topic: 'news', attributes: { name }, data: '' };
  const data = { name, dueAt, message, ...(generation !== undefined && { generation }) };
  const due = generation === undefined ? { dueAfterMs: ms } : { dueAt };
  const writes = [{ ref: `timers/WF-1/named/${name}`, data, ...due }];
  await store.commit({ tenant: 'default', reads: [], writes, entries: [], journal: [], publish: [] });
}

async function fired(): Promise<string[]> {
  // What is on its way shares a group with this.
  await database.write(() => {});
  await expect.poll(() => scheduler.isFiring).toBe(false);
  const rows = database.prepare('SELECT attributes FROM message ORDER BY position').all();
  return rows.map(({ attributes }) => JSON.parse(attributes as string).name);
}

test('a clock set back a day holds up no backoff, and brings no deadline forward', async () => {
  await wait('retry', 10 * second);
  await wait('deadline', 12 * second, 'g1');
  clock.set(-day);
  clock.pass(9 * second);
  expect(await fired()).toEqual([]);
  clock.pass(second);
  expect(await fired()).toEqual(['retry']);
  clock.pass(day - 10 * second);
  expect(await fired()).toEqual(['retry']);
  clock.pass(12 * second);
  expect(await fired()).toEqual(['retry', 'deadline']);
});

test('neither does one where a deadline is set meanwhile that comes earlier by its date', async () => {
  await wait('retry', 10 * second);
  clock.set(-day);
  await wait('deadline', day / 2, 'g1');
  clock.pass(10 * second);
  expect(await fired()).toEqual(['retry']);
  clock.pass(day / 2);
  expect(await fired()).toEqual(['retry', 'deadline']);
});

test('neither does one where the clock goes back while a retry is synced, however long nothing was looked at', async () => {
  clock.pass(2 * day);
  whileSyncing = () => {
    whileSyncing = () => {};
    clock.set(-day);
  };
  await wait('retry', 10 * second);
  clock.pass(10 * second);
  expect(await fired()).toEqual(['retry']);
});

test('a clock set back while nothing ran holds up no backoff either', async () => {
  await wait('retry', 10 * second);
  await wait('deadline', 12 * second, 'g1');
  scheduler.stop();
  clock.set(-day);
  start();
  expect(await fired()).toEqual(['retry']);
});

test('a clock set forward makes deadlines due, each once', async () => {
  await wait('retry', 10 * second);
  await wait('deadline', 12 * second, 'g1');
  await wait('next week', 7 * day, 'g2');
  clock.set(day);
  expect(await fired()).toEqual(['retry', 'deadline']);
  clock.set(-day);
  clock.pass(day);
  expect(await fired()).toEqual(['retry', 'deadline']);
});
