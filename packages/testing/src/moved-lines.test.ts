// What waits in the lines of a subscription, when these are moved behind those of another.
import { deliveryRef, forgetLines, heldBack, type Message, moveLines, PermanentError, type Ref } from '@dormouse/core';
import { expect, test } from 'vitest';
import { down, hour, inOrder, noting } from './ordered-diary.ts';
import { taker } from './thing.ts';
import { WiredService } from './wired-service.ts';

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

/** As if the subscription had never had it. */
async function forgetDelivery(wired: WiredService, n: number): Promise<void> {
  await forget(wired, deliveryRef(taker, { message: wired.message(n), messageId: '' }));
}

async function forget({ stores }: WiredService, ref: Ref): Promise<void> {
  const writes = [{ ref, data: null }];
  await stores.store.commit({ tenant: 'default', reads: [], writes, entries: [], journal: [], publish: [] });
}
