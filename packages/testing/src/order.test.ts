// Order of a workflow's events at one subscription, whatever fails: real broker, real store, time by hand.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { traceOf } from '@dormouse/console';
import {
  deliveryRef,
  forgetLines,
  type Handler,
  heldBack,
  type Message,
  moveLines,
  PermanentError,
  type Ref,
  RetryLaterError,
  type SubscriptionOptions,
} from '@dormouse/core';
import { Retention } from '@dormouse/local';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { asked, type CommitFate, diary, taker, WiredService } from './wired-service.ts';

/** Notes each event in its workflow's diary; throws what `failing` says first. */
function noting(failing: (n: number, attempt: number) => Error | undefined): Handler<{ n: number }> {
  return async ({ data: { n } }, step) => {
    const error = failing(n, step.attempt);
    if (error) throw error;
    const found = await step.workflow(diary);
    found.update({ seen: [...found.data.seen, n] });
  };
}

function inOrder(poison?: SubscriptionOptions['poison'], attempts = 3): SubscriptionOptions {
  return { order: 'workflow', ...(poison && { poison }), retry: { attempts, minBackoff: '10s', maxBackoff: '40s' } };
}

const hour = 3_600_000;
const down = new Error('down');

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
  const quiet = { info: () => {}, warn: () => {}, error: () => {} };
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

test('what is held goes to a subscription without order as messages of its own, in their order, however many', async () => {
  await using wired = await WiredService.with(
    noting((n) => (n === 0 ? new PermanentError('never') : undefined)),
    inOrder(),
  );
  const numbers = Array.from({ length: 120 }, (_, n) => n);
  await wired.publish(numbers);
  await wired.settle();
  const { broker, store } = wired.stores;
  const other = 'projects/test/subscriptions/other.thing.asked';
  await broker.createSubscription({ name: other, topic: 'projects/test/topics/thing.asked' });
  expect(await moveLines(store, taker, { name: 'other.thing.asked' })).toBe(119);
  const came = broker.deliveries.lease(broker.subscription(other), 200).map(({ message }) => message);
  expect(came.map(({ attributes }) => attributes['ce-id'])).toEqual(numbers.slice(1).map((n) => `E${n}`));
  expect(new Set(came.map(({ attributes }) => attributes['dormouse-to']))).toEqual(new Set(['other.thing.asked']));
  expect(await heldBack(store, taker)).toEqual({ keys: 0, events: 0 });
  expect((await store.find({ collection: `lines/${taker}/keys/default%2FWF-1/held` })).documents).toEqual([]);
});

test('what is moved into a line that waits already joins its end', async () => {
  await using wired = await WiredService.with(
    noting((n) => (n === 0 ? new PermanentError('never') : undefined)),
    inOrder(),
  );
  await wired.publish([0, 1, 2]);
  await wired.settle();
  const { store } = wired.stores;
  await moveLines(store, taker, { name: 'other', order: { poison: 'park-key' } });
  await wired.deliver(wired.message(0));
  await wired.publish([10, 11]);
  // Its line went with the dead letter's: nothing holds these back here.
  await wired.settle();
  expect(await wired.seen()).toEqual([10, 11]);
  await moveLines(store, 'other', { name: 'third', order: { poison: 'park-key' } });
  expect([await heldBack(store, 'other'), await heldBack(store, 'third')]).toEqual([
    { keys: 0, events: 0 },
    { keys: 1, events: 2 },
  ]);
  // Another line of the same workflow, of a subscription that goes too.
  const [line] = (await store.find({ collection: 'lines/third/keys' })).documents;
  const held = await store.get([0, 1].map((n) => `${line!.ref}/held/${n}`));
  const twin = line!.ref.replace('third', 'fourth');
  await store.commit({
    tenant: 'default',
    reads: [],
    writes: [
      { ref: twin, data: line!.data },
      ...held.map(({ ref, data }) => ({ ref: ref.replace('third', 'fourth'), data })),
    ],
    entries: [],
    journal: [],
    publish: [],
  });
  await moveLines(store, 'fourth', { name: 'third', order: { poison: 'park-key' } });
  expect(await heldBack(store, 'third')).toEqual({ keys: 1, events: 4 });
  await forgetLines(store, 'third');
  expect(await heldBack(store, 'third')).toEqual({ keys: 0, events: 0 });
});

test.each([
  ['waits for its retry', down],
  ['is dead', new PermanentError('never')],
] as const)(
  'one that %s keeps its place before those behind it when its line is moved behind another of the same workflow',
  async (_what, error) => {
    let isBroken = true;
    await using wired = await WiredService.with(
      noting((n) => (isBroken && (n === 1 || n === 10) ? (n === 1 ? error : down) : undefined)),
      inOrder(),
    );
    const { store } = wired.stores;
    const order = { poison: 'park-key' } as const;
    await wired.publish([1, 2, 3]);
    await wired.settle();
    // To another subscription, that has no memory of them, and back behind what came meanwhile.
    const [timer] = await store.due(Number.MAX_SAFE_INTEGER, 1);
    const [letter] = await wired.deadLetters();
    await moveLines(store, taker, { name: 'other', order });
    for (const n of [1, 2, 3]) await forgetDelivery(wired, n);
    if (timer) await forget(wired, timer.ref);
    await wired.publish([10, 11]);
    await wired.settle();
    expect(await moveLines(store, 'other', { name: taker, order })).toBe(2);
    expect(await heldBack(store, taker)).toEqual({ keys: 1, events: 4 });

    isBroken = false;
    if (timer) {
      // It comes before its turn, twice, and then its turn comes.
      for (const _time of [1, 2]) await wired.deliver(timer.data!.message as Message);
      await wired.advance(hour);
    } else {
      // Its turn comes, and waits for it.
      await wired.advance(hour);
      expect(await wired.seen()).toEqual([10, 11]);
      await wired.ask('redrive', letter!.id);
    }
    await wired.publish([4]);
    await wired.settle();
    expect(await wired.seen()).toEqual([10, 11, 1, 2, 3, 4]);
    expect(await heldBack(store, taker)).toEqual({ keys: 0, events: 0 });
  },
);

test('a dead letter that is discarded before its turn comes, in a line that was moved, stops nobody', async () => {
  let isBroken = true;
  await using wired = await WiredService.with(
    noting((n) => (n === 1 ? new PermanentError('never') : isBroken && n === 10 ? down : undefined)),
    inOrder(),
  );
  const { store } = wired.stores;
  const order = { poison: 'park-key' } as const;
  await wired.publish([1, 2]);
  await wired.settle();
  await moveLines(store, taker, { name: 'other', order });
  for (const n of [1, 2]) await forgetDelivery(wired, n);
  await wired.publish([10]);
  await wired.settle();
  await moveLines(store, 'other', { name: taker, order });
  await wired.ask('discard', (await wired.deadLetters())[0]!.id);
  isBroken = false;
  await wired.advance(hour);
  expect(await wired.seen()).toEqual([10, 2]);
  expect(await heldBack(store, taker)).toEqual({ keys: 0, events: 0 });
});

test('one that stands in a line twice, as after a move that came in the way of its repeat, takes effect once and stops nobody', async () => {
  await using wired = await WiredService.with(
    noting((n) => (n === 0 ? new PermanentError('never') : undefined)),
    inOrder(),
  );
  await wired.publish([0, 1, 2]);
  await wired.settle();
  await forgetDelivery(wired, 1);
  await wired.deliver(wired.message(1));
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 1, events: 3 });
  await wired.ask('discard', (await wired.deadLetters())[0]!.id);
  await wired.publish([3]);
  await wired.settle();
  expect(await wired.seen()).toEqual([1, 2, 3]);
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 0, events: 0 });
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

test('whatever fails, is killed or comes twice: each event takes effect once, in the order of its workflow', async () => {
  const script = fc.record({
    poison: fc.constantFrom('block' as const, 'park' as const, 'park-key' as const),
    /** How often each event fails before it succeeds; 9 is more often than its attempts. */
    failures: fc.array(fc.constantFrom(0, 0, 0, 1, 2, 9), { minLength: 1, maxLength: 8 }),
    fates: fc.infiniteStream(fc.constantFrom('well', 'well', 'well', 'lost', 'unanswered') as fc.Arbitrary<'well'>),
    repeats: fc.infiniteStream(fc.boolean()),
    pauses: fc.infiniteStream(fc.constantFrom(0, 0, 5_000, 60_000)),
  });
  await fc.assert(
    fc.asyncProperty(script, async ({ poison, failures, fates, repeats, pauses }) => {
      const left = [...failures];
      await using wired = await WiredService.with(
        noting((n) => (left[n]! > 0 && left[n]!-- > 0 ? down : undefined)),
        inOrder(poison),
      );
      wired.fate = () => fates.next().value!;
      wired.repeats = () => repeats.next().value!;
      for (const n of failures.keys()) {
        await wired.publish([n]);
        await wired.advance(pauses.next().value!);
      }
      await wired.advance(hour);
      // An operator mends what died, one after the other.
      wired.fate = () => 'well';
      const died: number[] = [];
      for (let round = 0; round < 2 * failures.length; round++) {
        for (const letter of (await wired.deadLetters()).filter(({ state }) => state === 'open')) {
          const { n } = JSON.parse(Buffer.from(letter.message.data, 'base64').toString());
          left[n] = 0;
          died.push(n);
          await wired.ask('redrive', letter.id);
        }
        await wired.advance(hour);
      }
      const all = [...failures.keys()];
      const seen = await wired.seen();
      expect(seen.toSorted((a, b) => a - b)).toEqual(all);
      if (poison !== 'park') expect(seen).toEqual(all);
      else expect(seen.filter((n) => !died.includes(n))).toEqual(all.filter((n) => !died.includes(n)));
      expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 0, events: 0 });
    }),
    { numRuns: 60 },
  );
});

/** As if the subscription had never had it. */
async function forgetDelivery(wired: WiredService, n: number): Promise<void> {
  await forget(wired, deliveryRef(taker, { message: wired.message(n), messageId: '' }));
}

async function forget({ stores }: WiredService, ref: Ref): Promise<void> {
  const writes = [{ ref, data: null }];
  await stores.store.commit({ tenant: 'default', reads: [], writes, entries: [], journal: [], publish: [] });
}
