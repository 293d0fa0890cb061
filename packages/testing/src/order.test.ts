// Order of a workflow’s events at one subscription, whatever fails: real broker, real store, time by hand.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { traceOf } from '@dormouse/console';
import { heldBack, PermanentError, RetryLaterError } from '@dormouse/core';
import { Retention } from '@dormouse/local';
import { expect, onTestFinished, test } from 'vitest';
import { down, hour, inOrder, noting } from './ordered-diary.ts';
import { quiet } from './service-ports.ts';
import { asked, taker } from './thing.ts';
import { type CommitFate, diary, WiredService } from './wired-service.ts';

test.each(['block', 'park', 'park-key'] as const)(
  'while one waits for its retry, those behind it are held, and follow in order (%s)',
  async (poison) => {
    await using wired = await WiredService.with(
      noting((n, attempt) => (n === 1 && attempt === 1 ? down : undefined)),
      inOrder(poison),
    );
    await wired.publish([1, 2, 3]);
    await wired.settle();
    expect(await wired.seen()).toEqual([]);
    expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 1, events: 2 });
    await wired.publish([4]);
    await wired.advance(10_000);
    expect(await wired.seen()).toEqual([1, 2, 3, 4]);
    expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 0, events: 0 });
  },
);

test('without order, others go on at once', async () => {
  await using wired = await WiredService.with(noting((n, attempt) => (n === 1 && attempt === 1 ? down : undefined)));
  await wired.publish([1, 2, 3]);
  await wired.settle();
  expect((await wired.seen()).toSorted()).toEqual([2, 3]);
  expect((await wired.stores.store.find({ collection: `lines/${taker}/keys` })).documents).toEqual([]);
});

test('one workflow holds up no other', async () => {
  await using wired = await WiredService.with(
    noting((n) => (n === 1 ? down : undefined)),
    inOrder(),
  );
  await wired.publish([1, 2], 'WF-1');
  await wired.publish([3, 4], 'WF-2');
  await wired.settle();
  expect([await wired.seen('WF-1'), await wired.seen('WF-2')]).toEqual([[], [3, 4]]);
});

test('one that is held and fails in its turn keeps its place', async () => {
  await using wired = await WiredService.with(
    noting((n, attempt) => (n < 3 && attempt === 1 ? down : undefined)),
    inOrder(),
  );
  await wired.publish([1, 2, 3]);
  await wired.advance(hour);
  expect(await wired.seen()).toEqual([1, 2, 3]);
});

test('park: what failed for good is a dead letter, and the others go on without it', async () => {
  await using wired = await WiredService.with(
    noting((n) => (n === 1 ? down : undefined)),
    inOrder('park'),
  );
  await wired.publish([1, 2, 3]);
  await wired.advance(hour);
  expect(await wired.seen()).toEqual([2, 3]);
  expect(await wired.deadLetters()).toMatchObject([{ state: 'open', attempts: 3 }]);
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 0, events: 0 });
});

test('park-key is the default: the key waits until its dead letter is redriven with success, then all follow in order', async () => {
  let isDown = true;
  await using wired = await WiredService.with(
    noting((n) => (n === 1 && isDown ? down : undefined)),
    inOrder(),
  );
  await wired.publish([1, 2]);
  await wired.advance(hour);
  await wired.publish([3]);
  await wired.advance(hour);
  expect(await wired.seen()).toEqual([]);
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 1, events: 2 });

  const [letter] = await wired.deadLetters();
  await wired.ask('redrive', letter!.id);
  // It fails again, by all its attempts, and still holds its key.
  await wired.advance(hour);
  expect(await wired.deadLetters()).toMatchObject([{ state: 'open', attempts: 6 }]);
  expect(await wired.seen()).toEqual([]);

  isDown = false;
  await wired.ask('redrive', letter!.id);
  await wired.settle();
  expect(await wired.seen()).toEqual([1, 2, 3]);
  expect(await wired.deadLetters()).toMatchObject([{ state: 'resolved' }]);
});

test('a dead letter that is discarded lets those behind it go on, in order, and those that come then', async () => {
  await using wired = await WiredService.with(
    noting((n) => (n === 1 ? new PermanentError('never') : undefined)),
    inOrder(),
  );
  await wired.publish([1, 2, 3]);
  await wired.settle();
  expect(await wired.seen()).toEqual([]);
  const [letter] = await wired.deadLetters();
  await wired.ask('discard', letter!.id);
  await wired.settle();
  await wired.publish([4]);
  await wired.settle();
  expect(await wired.seen()).toEqual([2, 3, 4]);
});

test('a dead letter that was parked is discarded without touching the line of others', async () => {
  await using wired = await WiredService.with(
    noting((n, attempt) => (n === 1 ? new PermanentError('never') : n === 2 && attempt === 1 ? down : undefined)),
    inOrder('park'),
  );
  await wired.publish([1, 2, 3]);
  await wired.settle();
  const [letter] = await wired.deadLetters();
  await wired.ask('discard', letter!.id);
  expect(await wired.seen()).toEqual([]);
  await wired.advance(hour);
  expect(await wired.seen()).toEqual([2, 3]);
});

test('a parked dead letter that is redriven while its key waits joins the end of the line', async () => {
  let isDown = true;
  await using wired = await WiredService.with(
    noting((n) => ((n === 1 || n === 2) && isDown ? down : undefined)),
    inOrder('park', 1),
  );
  await wired.publish([1]);
  await wired.settle();
  const [letter] = await wired.deadLetters();
  isDown = false;
  let isClosed = true;
  await using other = await WiredService.with(
    noting((n, attempt) => {
      if (n === 1 && attempt === 1) return new PermanentError('never');
      return n === 2 && isClosed ? new RetryLaterError('closed', { after: '1m' }) : undefined;
    }),
    inOrder('park'),
  );
  await other.publish([1, 2, 3]);
  await other.settle();
  await other.ask('redrive', (await other.deadLetters())[0]!.id);
  expect(await other.seen()).toEqual([]);
  isClosed = false;
  await other.advance(60_000);
  expect(await other.seen()).toEqual([2, 3, 1]);
  expect(await other.deadLetters()).toMatchObject([{ state: 'resolved' }]);
  // And while its key is free, at once.
  await wired.ask('redrive', letter!.id);
  expect(await wired.seen()).toEqual([1]);
});

test('block: one is tried for ever, at the longest backoff, and its key waits', async () => {
  let runs = 0;
  let isDown = true;
  await using wired = await WiredService.with(
    noting((n) => {
      if (n !== 1 || !isDown) return undefined;
      runs++;
      return down;
    }),
    inOrder('block'),
  );
  await wired.publish([1, 2]);
  await wired.advance(hour);
  // 10 s, 20 s, then each 40 s.
  expect(runs).toBe(3 + Math.floor((hour - 30_000 - 40_000) / 40_000) + 1);
  expect(await wired.deadLetters()).toEqual([]);
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 1, events: 1 });
  isDown = false;
  await wired.advance(40_000);
  expect(await wired.seen()).toEqual([1, 2]);
});

test('block: what no retry can mend is a dead letter, and holds its key until that is discarded', async () => {
  await using wired = await WiredService.with(
    noting((n) => (n === 1 ? new PermanentError('never') : undefined)),
    inOrder('block'),
  );
  await wired.publish([1, 2]);
  await wired.advance(hour);
  expect(await wired.seen()).toEqual([]);
  await wired.ask('discard', (await wired.deadLetters())[0]!.id);
  expect(await wired.seen()).toEqual([2]);
});

test('what the wire brings again of a held one, of the one before it, and of a settled one changes nothing', async () => {
  await using wired = await WiredService.with(
    noting((n, attempt) => (n === 1 && attempt === 1 ? down : undefined)),
    inOrder(),
  );
  await wired.publish([1, 2, 3]);
  await wired.settle();
  for (const n of [3, 2, 1, 2, 3]) await wired.deliver(wired.message(n));
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 1, events: 2 });
  await wired.advance(10_000);
  for (const n of [1, 2, 3]) await wired.deliver(wired.message(n));
  await wired.settle();
  expect(await wired.seen()).toEqual([1, 2, 3]);
});

test('one that the wire brings while the one before it runs and fails is held all the same', async () => {
  const failed = Promise.withResolvers<void>();
  const runs: number[] = [];
  await using wired = await WiredService.with(async ({ data: { n } }, step) => {
    runs.push(n);
    if (n === 1 && step.attempt === 1) throw down;
    if (n === 2) await failed.promise;
    const found = await step.workflow(diary);
    found.update({ seen: [...found.data.seen, n] });
  }, inOrder());
  await wired.make('WF-1');
  const second = wired.deliver(wired.message(2));
  await wired.deliver(wired.message(1));
  failed.resolve();
  await second;
  expect(runs.toSorted()).toEqual([1, 2]);
  expect(await wired.seen()).toEqual([]);
  await wired.advance(10_000);
  expect(await wired.seen()).toEqual([1, 2]);
});

test('one that is about to be held while the one before it settles runs instead: no line is left behind', async () => {
  await using wired = await WiredService.with(
    noting((n, attempt) => (n === 1 && attempt === 1 ? down : undefined)),
    inOrder(),
  );
  await wired.publish([1]);
  await wired.settle();
  wired.fate = async (): Promise<CommitFate> => {
    wired.fate = () => 'well';
    await wired.advance(10_000);
    return 'well';
  };
  await wired.deliver(wired.message(2));
  expect(await wired.seen()).toEqual([1, 2]);
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 0, events: 0 });
});

test('the message of a timer that was cancelled while it was held lets the next one go on', async () => {
  let isDown = true;
  await using wired = await WiredService.with(async ({ data: { n } }, step) => {
    const found = await step.workflow(diary);
    if (n === 1) step.publish(asked, { n: 9 }, { after: '1h', timer: 'later' });
    if (n === 2 && isDown) throw down;
    if (n === 2) await step.cancelTimer('later');
    found.update({ seen: [...found.data.seen, n] });
  }, inOrder('block'));
  await wired.publish([1]);
  await wired.settle();
  await wired.publish([2]);
  await wired.advance(hour);
  await wired.publish([3]);
  await wired.settle();
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 1, events: 2 });
  isDown = false;
  await wired.advance(60_000);
  expect(await wired.seen()).toEqual([1, 2, 3]);
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 0, events: 0 });
});

test('retention removes nothing that is held, nor what it needs to take effect once, however long that is', async () => {
  await using wired = await WiredService.with(
    noting((n, attempt) => (n === 1 && attempt < 2 ? new PermanentError('broken') : undefined)),
    inOrder(),
  );
  await wired.publish([1, 2]);
  await wired.settle();
  const { database, broker, store } = wired.stores;
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-order-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const day = 24 * hour;
  const retention = new Retention({
    directory: { join: (...parts) => join(folder, ...parts) },
    database,
    broker,
    store,
    clock: wired.clock,
    log: quiet,
    settings: { inboxMs: day, logMs: hour, journalMs: day, filesMs: day },
  });
  await wired.advance(100 * day);
  // Two events, and the news of a dead letter.
  expect((await retention.round()).messages).toBe(3);
  await wired.deliver(wired.message(2));
  await wired.ask('redrive', (await wired.deadLetters())[0]!.id);
  expect(await wired.seen()).toEqual([1, 2]);
  await wired.deliver(wired.message(1));
  await wired.deliver(wired.message(2));
  expect(await wired.seen()).toEqual([1, 2]);
});

test('the trace of a workflow tells what is held', async () => {
  let isDown = true;
  await using wired = await WiredService.with(async ({ data: { n } }, step) => {
    if (n === 2 && isDown) throw down;
    if (n === 1) for (const next of [2, 3]) step.publish(asked, { n: next });
  }, inOrder());
  await wired.publish([1]);
  await wired.settle();
  const idle = { backlog: 0, paused: false, ordered: true, undeclared: false };
  const topics = [{ name: asked.name, subscriptions: [{ name: taker, ...idle }] }];
  const statuses = async () =>
    (await traceOf(wired.stores.store, 'workflows/WF-1', topics, [])).rows.map(({ status }) => status);
  expect(await statuses()).toEqual(['retrying', 'held']);
  isDown = false;
  await wired.advance(hour);
  expect(await statuses()).toEqual(['done', 'done']);
});

test('an event of another tenant that claims a workflow holds up nobody there', async () => {
  await using wired = await WiredService.with(
    noting(() => undefined),
    inOrder(),
  );
  await wired.make('WF-1', 'acme');
  await wired.send(wired.message(1, 'WF-1', 'default'));
  await wired.publish([2], 'WF-1', 'acme');
  await wired.settle();
  expect(await wired.deadLetters()).toMatchObject([{ code: 'event.foreign' }]);
  expect(await wired.seen()).toEqual([2]);
});

test('events that do not say their tenant stand in the line of their workflow’s', async () => {
  await using wired = await WiredService.with(
    noting((n, attempt) => (n === 1 && attempt === 1 ? down : undefined)),
    inOrder(),
  );
  await wired.make('WF-1', 'acme');
  await wired.send(wired.message(1, 'WF-1', 'acme'));
  const { 'ce-tenant': _said, ...attributes } = wired.message(2).attributes;
  await wired.send({ ...wired.message(2), attributes });
  await wired.settle();
  expect(await wired.seen()).toEqual([]);
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 1, events: 1 });
  await wired.advance(10_000);
  expect(await wired.seen()).toEqual([1, 2]);
});
