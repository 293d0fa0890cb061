// What an operator does with dead letters in any system: real broker, real store, time by hand.
import {
  type Actor,
  type Command,
  CommandRefused,
  command,
  commandsOf,
  deadLetters,
  heldBack,
  InvalidInput,
  type Message,
  PermanentError,
  refOf,
  runCommand,
} from '@dormouse/core';
import { expect, test } from 'vitest';
import { taker } from './thing.ts';
import { diary, WiredService } from './wired-service.ts';

const operator: Actor = { name: 'anna', role: 'operator', tenant: 'default' };
const other = 'other.thing.asked';

/** Nothing of its own, as a plain system. */
const plain = commandsOf([], { services: [{ subscriptions: [{ name: other, dormouse: false }] }] });

async function give(
  wired: WiredService,
  what: 'redrive' | 'discard',
  id: string,
  { body = '{"reason":"for the test"}', key, as = operator }: { body?: string; key?: string; as?: Actor } = {},
): Promise<unknown> {
  const headers = new Headers(key === undefined ? {} : { 'idempotency-key': key });
  const output = await runCommand(named(what), { headers, body, params: { id } }, as, 'test', wired.ports);
  await wired.settle();
  return output;
}

function named(what: 'redrive' | 'discard'): Command {
  return plain.find(({ route }) => route === `POST /api/dead-letters/:id/${what}`)!;
}

/** Three events of a workflow, the first of which is dead and holds up the others, until `mend`. */
async function parked() {
  let isBroken = true;
  const wired = await WiredService.with(
    async ({ data: { n } }, step) => {
      if (n === 1 && isBroken) throw new PermanentError('broken');
      const found = await step.workflow(diary);
      found.update({ seen: [...found.data.seen, n] });
    },
    { order: 'workflow', poison: 'park-key' },
  );
  await wired.publish([1, 2, 3]);
  await wired.settle();
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 1, events: 2 });
  const [letter] = await wired.deadLetters();
  const mend = () => {
    isBroken = false;
  };
  return { wired, letter: letter!, mend, [Symbol.asyncDispose]: () => wired[Symbol.asyncDispose]() };
}

test('a key that was set aside goes on in order when its dead letter is redriven with success, and not before', async () => {
  await using world = await parked();
  const { wired, letter, mend } = world;
  await give(wired, 'redrive', letter.id);
  expect([await wired.seen(), await wired.deadLetters()]).toMatchObject([[], [{ state: 'open', attempts: 2 }]]);
  mend();
  expect(await give(wired, 'redrive', letter.id)).toEqual({ deadLetterId: letter.id });
  expect([await wired.seen(), await wired.deadLetters()]).toMatchObject([[1, 2, 3], [{ state: 'resolved' }]]);
  expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 0, events: 0 });
});

test('a key that was set aside goes on in order when its dead letter is discarded, with the reason on record', async () => {
  await using world = await parked();
  const { wired, letter } = world;
  await give(wired, 'discard', letter.id, { body: '{"reason":"it is lost"}' });
  await wired.publish([4]);
  await wired.settle();
  expect(await wired.seen()).toEqual([2, 3, 4]);
  expect(await wired.deadLetters()).toMatchObject([{ state: 'discarded', discarded: { reason: 'it is lost' } }]);
});

test('what is done with a dead letter is in its log: who, what, why', async () => {
  await using world = await parked();
  const { wired, letter } = world;
  await give(wired, 'redrive', letter.id);
  await give(wired, 'discard', letter.id, { body: '{"reason":"it is lost"}' });
  const entries = wired.stores.database
    .prepare('SELECT body FROM entry WHERE chain = ? ORDER BY seq')
    .all(refOf(deadLetters, letter.id))
    .map(({ body }) => JSON.parse(body as string));
  expect(entries).toMatchObject([
    { cause: { command: 'redriveDeadLetter', actor: 'anna' }, note: `redrives thing.asked to ${taker}` },
    { cause: { command: 'discardDeadLetter', actor: 'anna' }, note: `discards thing.asked of ${taker}: it is lost` },
  ]);
});

test('the same request takes effect once; another is refused, since it is not open any more', async () => {
  await using world = await parked();
  const { wired, letter, mend } = world;
  mend();
  for (const _time of [1, 2]) {
    expect(await give(wired, 'redrive', letter.id, { key: 'twice' })).toEqual({ deadLetterId: letter.id });
  }
  expect(await wired.seen()).toEqual([1, 2, 3]);
  for (const what of ['redrive', 'discard'] as const) {
    await expect(give(wired, what, letter.id)).rejects.toThrow(/is resolved; only an open one can be/);
  }
});

test('a dead letter of another tenant is not there, and one is discarded only with a reason', async () => {
  await using world = await parked();
  const { wired, letter } = world;
  const stranger = { ...operator, tenant: 'acme' };
  for (const what of ['redrive', 'discard'] as const) {
    await expect(give(wired, what, letter.id, { as: stranger })).rejects.toMatchObject({ code: 'document.missing' });
    await expect(give(wired, what, 'nothing')).rejects.toMatchObject({ code: 'document.missing' });
  }
  for (const body of ['', '{}', '{"reason":""}', JSON.stringify({ reason: 'x'.repeat(501) })]) {
    await expect(give(wired, 'discard', letter.id, { body })).rejects.toThrow(InvalidInput);
  }
  expect(await wired.deadLetters()).toMatchObject([{ state: 'open' }]);
  expect(plain.map(({ role, authentication }) => [role, authentication])).toEqual([
    ['operator', 'token'],
    ['operator', 'token'],
  ]);
});

test('a dead letter of a service that is another command is resolved when it leaves, and open again when the wire gives it up once more', async () => {
  await using wired = await WiredService.with(async () => {});
  await wired.make('WF-1');
  const fullName = `projects/test/subscriptions/${other}`;
  await wired.stores.broker.createSubscription({ name: fullName, topic: 'projects/test/topics/thing.asked' });
  await wired.send(forwarded(wired.message(1)));
  await wired.settle();
  const [letter] = await wired.deadLetters();
  expect(letter).toMatchObject({ state: 'open', subscription: other, attempts: 1 });
  await give(wired, 'redrive', letter!.id);
  expect(await wired.deadLetters()).toMatchObject([{ state: 'resolved' }]);

  const { deliveries } = wired.stores.broker;
  const [lease] = deliveries.lease(wired.stores.broker.subscription(fullName), 10);
  const { attributes, data } = lease!.message;
  expect(attributes).toMatchObject({ 'dormouse-to': other, 'dormouse-attempt': '2' });
  await wired.send(forwarded({ topic: 'thing.asked', attributes, data }));
  await wired.settle();
  expect(await wired.deadLetters()).toMatchObject([{ id: letter!.id, state: 'open', attempts: 2 }]);
});

test('a system may put a command of its own in their place, by the same route', () => {
  const own = command<object, null>({
    name: 'again',
    route: 'POST /api/dead-letters/:letter/redrive',
    parse: () => ({}),
    subject: () => ({ ref: 'workflows/WF-1' }),
    run: async () => {
      throw new CommandRefused('not today');
    },
  });
  expect(commandsOf([own], { services: [] }).map(({ name }) => name)).toEqual(['again', 'discardDeadLetter']);
});

/** As the wire forwards what the other service never settled. */
function forwarded(message: Message): Message {
  const attributes = {
    ...message.attributes,
    CloudPubSubDeadLetterSourceDeliveryCount: '100',
    CloudPubSubDeadLetterSourceSubscription: other,
  };
  return { ...message, topic: 'dead.letter', attributes };
}
