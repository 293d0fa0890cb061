// What the wire itself gives up on: real broker with its dead-letter policy, real store, time by hand.
import { type DeadLetter, heldBack, type Message, type PoisonPolicy } from '@dormouse/core';
import { expect, test } from 'vitest';
import { taker } from './thing.ts';
import { type CommitFate, diary, WiredService } from './wired-service.ts';

const wireAttempts = 5;

/** The next commits are lost, as many as that. */
function losing(count: number): () => CommitFate {
  let left = count;
  return () => (left-- > 0 ? 'lost' : 'well');
}

function noting(fails: (n: number, attempt: number) => boolean = () => false) {
  return async (
    { data: { n } }: { data: { n: number } },
    step: Parameters<Parameters<typeof WiredService.with>[0]>[1],
  ) => {
    if (fails(n, step.attempt)) throw new Error('down');
    const found = await step.workflow(diary);
    found.update({ seen: [...found.data.seen, n] });
  };
}

/** As the wire forwards it. */
function forwarded(message: Message, from = taker): Message {
  const attributes = {
    ...message.attributes,
    CloudPubSubDeadLetterSourceDeliveryCount: '100',
    CloudPubSubDeadLetterSourceSubscription: from,
    CloudPubSubDeadLetterSourceSubscriptionProject: 'test',
    CloudPubSubDeadLetterSourceTopicPublishTime: '2026-01-01T00:00:00Z',
  };
  return { ...message, topic: 'dead.letter', attributes };
}

const addressedTo = ({ attributes, ...message }: Message, to: string, attempt: number): Message => ({
  ...message,
  attributes: { ...attributes, 'dormouse-to': to, 'dormouse-attempt': String(attempt) },
});

test('what was delivered as often as the wire allows, and never committed, is a dead letter without a response, and can be redriven', async () => {
  await using wired = await WiredService.with(noting(), {}, wireAttempts);
  wired.fate = losing(wireAttempts);
  await wired.publish([1]);
  await wired.settle();
  const [letter] = await wired.deadLetters();
  expect(letter).toMatchObject({
    state: 'open',
    code: 'delivery.unanswered',
    cause: 'no response: delivered 5 times, and what became of it was never committed',
    subscription: taker,
    topic: 'thing.asked',
    workflow: 'workflows/WF-1',
    attempts: 1,
  });
  expect(Object.keys(letter!.message.attributes).filter((name) => name.startsWith('CloudPubSub'))).toEqual([]);
  expect(wired.announced).toMatchObject([
    { type: 'dead.letter', subject: 'workflows/WF-1', data: { id: letter!.id, code: 'delivery.unanswered' } },
  ]);
  const [entry] = await Array.fromAsync(wired.stores.store.log({ workflow: 'workflows/WF-1' }));
  expect(entry).toMatchObject({ kind: 'journal', entry: { error: { code: 'delivery.unanswered' } } });

  await wired.ask('redrive', letter!.id);
  expect(await wired.seen()).toEqual([1]);
  expect(await wired.deadLetters()).toMatchObject([{ state: 'resolved' }]);
});

test('so is a retry, though it is addressed to another: it is recorded at its attempt', async () => {
  await using wired = await WiredService.with(
    noting((_n, attempt) => attempt === 1),
    {},
    wireAttempts,
  );
  await wired.publish([1]);
  await wired.settle();
  wired.fate = losing(wireAttempts);
  await wired.advance(60_000);
  const [letter] = await wired.deadLetters();
  expect(letter).toMatchObject({ code: 'delivery.unanswered', attempts: 2 });
  await wired.ask('redrive', letter!.id);
  expect(await wired.seen()).toEqual([1]);
});

test('the record is made and announced once, however often it is forwarded, delivered, and killed on the way', async () => {
  await using wired = await WiredService.with(noting());
  await wired.make('WF-1');
  for (const fate of ['lost', 'unanswered', 'well', 'unanswered', 'well', 'well'] as const) {
    wired.fate = () => {
      wired.fate = () => 'well';
      return fate;
    };
    await wired.send(forwarded(wired.message(1)));
    await wired.settle();
  }
  expect(await wired.deadLetters()).toHaveLength(1);
  expect(new Set(wired.announced.map(({ id }) => id)).size).toBe(1);
});

test('where its message came from a timer its delivery says so: retention keeps that for whoever redrives', async () => {
  await using wired = await WiredService.with(noting());
  await wired.make('WF-1');
  const timer = 'timers/WF-1/named/later';
  const { attributes, ...message } = forwarded(wired.message(1));
  await wired.send({ ...message, attributes: { ...attributes, 'dormouse-timer': `G1 ${timer}` } });
  await wired.settle();
  const [letter] = await wired.deadLetters();
  expect((await wired.stores.store.get([letter!.inbox]))[0]!.data).toMatchObject({ state: 'dead-letter', timer });
});

test('nothing is recorded of an event that was settled, or whose failure was', async () => {
  await using wired = await WiredService.with(noting((n) => n === 2));
  await wired.publish([1, 2]);
  await wired.settle();
  for (const n of [1, 2]) await wired.send(forwarded(wired.message(n)));
  await wired.settle();
  expect([await wired.deadLetters(), wired.announced]).toEqual([[], []]);
});

test('two subscriptions that the wire gives up on for one event have a dead letter each', async () => {
  await using wired = await WiredService.with(noting());
  await wired.make('WF-1');
  for (const from of [taker, 'other.thing.asked']) await wired.send(forwarded(wired.message(1), from));
  await wired.settle();
  const letters = await wired.deadLetters();
  expect(letters.map(({ subscription }) => subscription).toSorted()).toEqual(['other.thing.asked', taker]);
  expect(wired.announced).toHaveLength(2);
});

/** Of two in order, the wire gives up on the first in its turn. */
async function givenUpInTurn(poison: PoisonPolicy) {
  const wired = await WiredService.with(
    noting((n, attempt) => n === 1 && attempt === 1),
    { order: 'workflow', poison },
    wireAttempts,
  );
  await wired.publish([1, 2]);
  await wired.settle();
  wired.fate = losing(wireAttempts);
  await wired.advance(10_000);
  const [letter] = await wired.deadLetters();
  expect(letter).toMatchObject({ code: 'delivery.unanswered', state: 'open' });
  return wired;
}

test('in order, those behind what the wire gives up on in its turn go on without it where their subscription parks what is dead', async () => {
  await using wired = await givenUpInTurn('park');
  expect([await wired.seen(), await heldBack(wired.stores.store, taker)]).toEqual([[2], { keys: 0, events: 0 }]);
  await wired.ask('redrive', (await wired.deadLetters())[0]!.id);
  expect(await wired.seen()).toEqual([2, 1]);
});

test.each(['park-key', 'block'] as const)(
  'in order, what the wire gives up on in its turn holds its key until it is redriven (%s)',
  async (poison) => {
    await using wired = await givenUpInTurn(poison);
    const [letter] = await wired.deadLetters();
    expect([await wired.seen(), await heldBack(wired.stores.store, taker)]).toEqual([[], { keys: 1, events: 1 }]);
    await wired.ask('redrive', letter!.id);
    await wired.advance(10_000);
    expect(await wired.seen()).toEqual([1, 2]);
  },
);

test.each([
  ['another tenant’s workflow', { 'ce-tenant': 'other' }, 'other'],
  ['a tenant that is none', { 'ce-tenant': 'No Tenant' }, 'default'],
])(
  'a message that claims %s stays with who it is of, and leaves no trace in the workflow',
  async (_what, more, tenant) => {
    await using wired = await WiredService.with(noting());
    await wired.make('WF-1', 'acme');
    const { attributes, ...message } = forwarded(addressedTo(wired.message(1), taker, 1));
    await wired.send({ ...message, attributes: { ...attributes, ...more } });
    await wired.settle();
    const { documents } = await wired.stores.store.find({ collection: 'dead-letters', tenant });
    expect(documents).toHaveLength(1);
    expect((documents[0]!.data as unknown as DeadLetter).workflow).toBeUndefined();
    expect(await Array.fromAsync(wired.stores.store.log({ workflow: 'workflows/WF-1' }))).toEqual([]);
  },
);

test('a message that is no event is kept as it came', async () => {
  await using wired = await WiredService.with(noting());
  const data = Buffer.from('what is this').toString('base64');
  await wired.send(forwarded({ topic: 'thing.asked', attributes: {}, data }));
  await wired.settle();
  expect(await wired.deadLetters()).toMatchObject([{ topic: 'thing.asked', message: { data } }]);
});
