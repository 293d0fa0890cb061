import { commitUnit, type StateStore, timersAtATime, timersOf, type Waker } from '@dormouse/core';
import { describe, expect, test } from 'vitest';
import type { SetClock } from './set-clock.ts';

const second = 1_000;
const day = 86_400 * second;
const workflow = 'workflows/WF-1';

/** A store, and a scheduler that looks after it. */
export interface SchedulerBench extends AsyncDisposable {
  readonly clock: SetClock;
  readonly store: StateStore;
  /** Whom commits tell of their timers. Default: the store does so itself. */
  readonly waker?: Waker;
  start(): void;
  stop(): void;
  /** While a commit waits for its disk. Only of use where the clock can be set. */
  whileSyncing?(callback: () => void): void;
  /** The attribute `name` of all that was published, in order, once nothing moves by itself any more. */
  published(): Promise<string[]>;
}

export interface SchedulerCapabilities {
  /** Why nobody sets the clock by which timers are looked at. Default: it can be set. */
  readonly clockIsNeverSet?: string;
}

/** What every scheduler must do. `open` gives one that has started, over an empty store that has a topic `news`. */
export function schedulerSuite(
  name: string,
  open: () => Promise<SchedulerBench>,
  { clockIsNeverSet: reason }: SchedulerCapabilities = {},
): void {
  const ifSet = (title: string, run: () => Promise<void>) =>
    reason === undefined ? test(title, run) : test.skip(`${title} (${reason})`, run);
  describe(`scheduler: ${name}`, () => {
    test('a timer fires once, at its time and not before, also after a month', async () => {
      await using bench = await open();
      await wait(bench, 'reminder', 30 * day, 'g1');
      bench.clock.pass(30 * day - 1);
      expect(await bench.published()).toEqual([]);
      bench.clock.pass(1);
      expect(await bench.published()).toEqual(['reminder']);
      bench.clock.pass(365 * day);
      expect(await bench.published()).toEqual(['reminder']);
    });

    test('timers fire in the order of their times, whatever the order they were set in', async () => {
      await using bench = await open();
      await wait(bench, 'later', 3 * second, 'g1');
      await wait(bench, 'soon', second, 'g2');
      await wait(bench, 'between', 2 * second, 'g3');
      for (let passed = 0; passed < 3; passed++) {
        bench.clock.pass(second);
        await bench.published();
      }
      expect(await bench.published()).toEqual(['soon', 'between', 'later']);
    });

    test('more timers than are looked at together, due at once, all fire', async () => {
      await using bench = await open();
      const names = Array.from({ length: timersAtATime + 10 }, (_, n) => `timer ${n}`);
      await Promise.all(names.map((each) => wait(bench, each, second, each)));
      bench.clock.pass(second);
      expect((await bench.published()).toSorted()).toEqual(names.toSorted());
    });

    test('one that is set anew fires at its new time only, one that is taken back never', async () => {
      await using bench = await open();
      await wait(bench, 'reminder', second, 'g1');
      await wait(bench, 'reminder', 3 * second, 'g2');
      await wait(bench, 'cancelled', second, 'g3');
      await commit(bench, [{ ref: refOf('cancelled'), data: null }]);
      bench.clock.pass(2 * second);
      expect(await bench.published()).toEqual([]);
      bench.clock.pass(second);
      expect(await bench.published()).toEqual(['reminder']);
    });

    test('one that has fired waits to be taken in; a retry’s is gone', async () => {
      await using bench = await open();
      await wait(bench, 'reminder', second, 'g1');
      await wait(bench, 'retry', second);
      bench.clock.pass(second);
      expect((await bench.published()).toSorted()).toEqual(['reminder', 'retry']);
      expect((await timersOf(bench.store, workflow)).map(({ name }) => name)).toEqual(['reminder']);
      expect(await bench.store.due(bench.clock.now() + day, 10)).toEqual([]);
    });

    test('what fell due while nobody looked fires at the start', async () => {
      await using bench = await open();
      bench.stop();
      await wait(bench, 'reminder', second, 'g1');
      bench.clock.pass(day);
      expect(await bench.published()).toEqual([]);
      bench.start();
      expect(await bench.published()).toEqual(['reminder']);
    });

    ifSet('a clock set back a day holds up no backoff, and brings no deadline forward', async () => {
      await using bench = await open();
      await wait(bench, 'retry', 10 * second);
      await wait(bench, 'deadline', 12 * second, 'g1');
      bench.clock.set(-day);
      bench.clock.pass(9 * second);
      expect(await bench.published()).toEqual([]);
      bench.clock.pass(second);
      expect(await bench.published()).toEqual(['retry']);
      bench.clock.pass(day - 10 * second);
      expect(await bench.published()).toEqual(['retry']);
      bench.clock.pass(12 * second);
      expect(await bench.published()).toEqual(['retry', 'deadline']);
    });

    ifSet('neither does one where a deadline is set meanwhile that comes earlier by its date', async () => {
      await using bench = await open();
      await wait(bench, 'retry', 10 * second);
      bench.clock.set(-day);
      await wait(bench, 'deadline', day / 2, 'g1');
      bench.clock.pass(10 * second);
      expect(await bench.published()).toEqual(['retry']);
      bench.clock.pass(day / 2);
      expect(await bench.published()).toEqual(['retry', 'deadline']);
    });

    ifSet(
      'neither does one where the clock goes back while a retry is synced, however long nothing was looked at',
      async () => {
        await using bench = await open();
        bench.clock.pass(2 * day);
        bench.whileSyncing!(() => bench.clock.set(-day));
        await wait(bench, 'retry', 10 * second);
        bench.clock.pass(10 * second);
        expect(await bench.published()).toEqual(['retry']);
      },
    );

    ifSet('a clock set back while nothing ran holds up no backoff either', async () => {
      await using bench = await open();
      await wait(bench, 'retry', 10 * second);
      await wait(bench, 'deadline', 12 * second, 'g1');
      bench.stop();
      bench.clock.set(-day);
      bench.start();
      expect(await bench.published()).toEqual(['retry']);
    });

    ifSet('a clock set forward makes deadlines due, each once', async () => {
      await using bench = await open();
      await wait(bench, 'retry', 10 * second);
      await wait(bench, 'deadline', 12 * second, 'g1');
      await wait(bench, 'next week', 7 * day, 'g2');
      bench.clock.set(day);
      expect((await bench.published()).toSorted()).toEqual(['deadline', 'retry']);
      bench.clock.set(-day);
      bench.clock.pass(day);
      expect((await bench.published()).toSorted()).toEqual(['deadline', 'retry']);
    });
  });
}

/** A timer of a handler's has a generation, and a date. A retry's has none, and a duration. */
async function wait(bench: SchedulerBench, name: string, ms: number, generation?: string): Promise<void> {
  const dueAt = bench.clock.now() + ms;
  const message = { topic: 'news', attributes: { name, 'ce-subject': workflow }, data: '' };
  const data = { name, dueAt, message, ...(generation !== undefined && { generation }) };
  const due = generation === undefined ? { dueAfterMs: ms } : { dueAt };
  await commit(bench, [{ ref: refOf(name), data, ...due }]);
}

function refOf(name: string): string {
  return `timers/WF-1/named/${encodeURIComponent(name)}`;
}

async function commit(bench: SchedulerBench, writes: Parameters<StateStore['commit']>[0]['writes']): Promise<void> {
  const { store, waker } = bench;
  const unit = { tenant: 'default', reads: [], writes, entries: [], journal: [], publish: [] };
  await commitUnit({ store, relay: undefined, waker }, unit);
}
