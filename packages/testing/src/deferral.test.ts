// Events that come too early: real broker, real store, time by hand.
import {
  collection,
  command,
  type Handler,
  heldBack,
  type Ref,
  runCommand,
  type Step,
  type SubscriptionOptions,
} from '@dormouse/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { taker, told } from './thing.ts';
import { type CommitFate, diary, WiredService } from './wired-service.ts';

const day = 86_400_000;
const notes = collection<{ text: string }>('notes');

/** Notes each event in the diary; one that comes before the one it needs is deferred. */
function needing(needs: (n: number) => number | undefined, runs: number[] = []): Handler<{ n: number }> {
  return async ({ data: { n } }, step) => {
    runs.push(n);
    const found = await step.workflow(diary);
    const needed = needs(n);
    if (needed !== undefined && !found.data.seen.includes(needed)) return step.defer(`${needed} has not come`);
    found.update({ seen: [...found.data.seen, n] });
  };
}

const firstNeedsSecond = (n: number) => (n === 1 ? 2 : undefined);

async function waiting({ stores }: WiredService): Promise<number> {
  const { documents } = await stores.store.find({ collection: 'timers/WF-1/named' });
  return documents.length;
}

test('an event that comes too early waits until the document it was decided on is written, and takes no attempt for it', async () => {
  const runs: number[] = [];
  await using wired = await WiredService.with(needing(firstNeedsSecond, runs), { retry: { attempts: 1 } });
  for (const n of [1, 3]) {
    await wired.publish([n]);
    await wired.settle();
  }
  // Written to by the third, it looked again, and waits again.
  expect([await wired.seen(), await waiting(wired), runs]).toEqual([[3], 1, [1, 3, 1]]);
  await wired.publish([2]);
  await wired.settle();
  expect([await wired.seen(), await waiting(wired)]).toEqual([[3, 2, 1], 0]);
  expect(await wired.deadLetters()).toEqual([]);
  expect(await wired.stores.store.get(['deferrals/WF-1'])).toMatchObject([{ data: null }]);
});

test('nothing of what a handler did before it deferred is committed, and nothing after runs, also where it catches that', async () => {
  let after = 0;
  await using wired = await WiredService.with(async ({ data: { n } }, step) => {
    const found = await step.workflow(diary);
    found.update({ seen: [n] });
    step.publish(told, { n });
    try {
      step.defer('too early');
      after++;
    } catch {
      expect(() => step.publish(told, { n })).toThrow('the step is over');
    }
  });
  await wired.publish([1]);
  await wired.settle();
  expect([after, await wired.seen(), await waiting(wired)]).toEqual([0, [], 1]);
});

test('it waits for documents that the handler read, and for the workflow; others do not wake it', async () => {
  const runs: number[] = [];
  const write = async (step: Step, id: string) => {
    const note = await step.document(notes, id);
    if (note.exists) note.update({ text: 'again' });
    else note.create({ text: 'new' });
  };
  await using wired = await WiredService.with(async ({ data: { n } }, step) => {
    runs.push(n);
    if (n === 2) await write(step, 'other');
    else if (n === 3) await write(step, 'awaited');
    else if (n === 4) (await step.workflow(diary)).update({ seen: [n] });
    else if (!(await step.document(notes, 'never')).exists && !(await step.document(notes, 'awaited')).exists) {
      step.defer('no note');
    }
  });
  await wired.publish([1]);
  for (const n of [2, 4, 3]) {
    await wired.settle();
    await wired.publish([n]);
  }
  await wired.settle();
  expect(runs).toEqual([1, 2, 4, 1, 3, 1]);
});

test('of an event that was deferred for its greatest age, a dead letter tells the reason; redriven it may wait as long again', async () => {
  await using wired = await WiredService.with(async ({ data: { n } }, step) => {
    const found = await step.workflow(diary);
    if (n === 1 && found.data.seen.length < 2) step.defer('the second has not come', { maxAge: '3d' });
    found.update({ seen: [...found.data.seen, n] });
  });
  await wired.publish([1]);
  await wired.advance(2 * day);
  // What wakes it in vain does not make it younger.
  await wired.publish([2]);
  await wired.advance(day - 1);
  expect(await wired.deadLetters()).toEqual([]);
  await wired.advance(1);
  expect(await wired.deadLetters()).toMatchObject([
    { state: 'open', code: 'step.deferred', cause: expect.stringContaining('the second has not come') },
  ]);
  // Nothing says any more that one waits.
  expect(await wired.stores.store.get(['deferrals/WF-1'])).toMatchObject([{ data: null }]);
  await wired.ask('redrive', (await wired.deadLetters())[0]!.id);
  await wired.advance(2 * day);
  await wired.publish([3]);
  await wired.settle();
  expect(await wired.seen()).toEqual([2, 3, 1]);
  expect(await wired.deadLetters()).toMatchObject([{ state: 'resolved' }]);
});

test('of an event that takes effect after its greatest age without a write, nothing says any more that it waits; of another, it does', async () => {
  let isLate = false;
  await using wired = await WiredService.with(async ({ data: { n } }, step) => {
    await step.workflow(diary);
    if (n === 2 || !isLate) step.defer('too early', { maxAge: n === 2 ? '9d' : '3d' });
  });
  const said = async () => (await wired.stores.store.get(['deferrals/WF-1']))[0]!.data !== null;
  await wired.publish([1, 2]);
  await wired.settle();
  isLate = true;
  await wired.advance(3 * day);
  expect([await waiting(wired), await said()]).toEqual([1, true]);
  await wired.advance(6 * day);
  expect([await waiting(wired), await said(), await wired.deadLetters()]).toMatchObject([
    0,
    false,
    [{ code: 'step.deferred' }],
  ]);
  await wired.publish([3]);
  await wired.settle();
  isLate = false;
  await wired.publish([4]);
  await wired.settle();
  isLate = true;
  await wired.advance(3 * day);
  expect([await waiting(wired), await said()]).toEqual([0, false]);
});

test('what is written between its run and its commit makes it run again: it never waits for what has come', async () => {
  const runs: number[] = [];
  await using wired = await WiredService.with(needing(firstNeedsSecond, runs));
  await wired.make('WF-1');
  wired.fate = async (): Promise<CommitFate> => {
    wired.fate = () => 'well';
    await wired.deliver(wired.message(2));
    return 'well';
  };
  await wired.deliver(wired.message(1));
  expect([await wired.seen(), await waiting(wired), runs]).toEqual([[2, 1], 0, [1, 2, 1]]);
});

test('who wrote without knowing that somebody began to wait is told by his commit, and wakes him', async () => {
  const runs: number[] = [];
  await using wired = await WiredService.with(needing(firstNeedsSecond, runs));
  await wired.make('WF-1');
  wired.fate = async (): Promise<CommitFate> => {
    wired.fate = () => 'well';
    await wired.deliver(wired.message(1));
    return 'well';
  };
  await wired.deliver(wired.message(2));
  await wired.settle();
  expect([await wired.seen(), runs]).toEqual([
    [2, 1],
    [2, 1, 2, 1],
  ]);
});

test('a command wakes it too, also the one that makes its workflow', async () => {
  await using wired = await WiredService.with(async ({ data: { n } }, step) => {
    const found = await step.workflow(diary);
    if (!found.exists) step.defer('there is no such diary');
    found.update({ seen: [...found.data.seen, n] });
  });
  await wired.send(wired.message(1, 'WF-7'));
  await wired.settle();
  const make = command<Ref, null>({
    name: 'make',
    route: 'POST /api/make',
    creates: true,
    parse: () => 'workflows/WF-7',
    subject: (ref) => ({ ref }),
    async run(_ref, step) {
      (await step.workflow(diary)).create({ seen: [] });
      return null;
    },
  });
  const actor = { name: 'tester', role: 'admin', tenant: 'default' } as const;
  await runCommand(make, { headers: new Headers(), body: '', params: {} }, actor, 'test', wired.ports);
  await wired.settle();
  expect(await wired.seen('WF-7')).toEqual([1]);
});

test('a command that comes too early is refused with the reason', async () => {
  await using wired = await WiredService.with(async () => {});
  await wired.make('WF-1');
  const early = command<null, null>({
    name: 'early',
    route: 'POST /api/early',
    parse: () => null,
    subject: () => ({ ref: 'workflows/WF-1' }),
    run: async (_input, step) => step.defer('not open yet'),
  });
  const actor = { name: 'tester', role: 'admin', tenant: 'default' } as const;
  const given = runCommand(early, { headers: new Headers(), body: '', params: {} }, actor, 'test', wired.ports);
  await expect(given).rejects.toMatchObject({ code: 'command.refused', message: 'not open yet' });
});

test.each([
  ['100d', /maxAge must be 1s to 30d, got "100d"/],
  ['0s', /maxAge must be 1s to 30d, got "0s"/],
] as const)('a greatest age of %s is refused', async (maxAge, message) => {
  const causes: unknown[] = [];
  await using wired = await WiredService.with(async (_event, step) => {
    try {
      step.defer('early', { maxAge });
    } catch (error) {
      causes.push((error as Error).message);
    }
  });
  await wired.publish([1]);
  await wired.settle();
  expect(causes).toEqual([expect.stringMatching(message)]);
});

test('in order, a deferred event holds up its key until it has taken effect', async () => {
  await using wired = await WiredService.with(
    async ({ data: { n } }, step) => {
      const found = await step.workflow(diary);
      const note = await step.document(notes, 'open');
      if (n === 1 && !note.exists) step.defer('not open');
      found.update({ seen: [...found.data.seen, n] });
    },
    { order: 'workflow' },
  );
  await wired.publish([1, 2, 3]);
  await wired.settle();
  expect([await wired.seen(), await heldBack(wired.stores.store, taker)]).toEqual([[], { keys: 1, events: 2 }]);
  const open = command<null, null>({
    name: 'open',
    route: 'POST /api/open',
    parse: () => null,
    subject: () => ({ ref: 'workflows/WF-1' }),
    async run(_input, step) {
      (await step.document(notes, 'open')).create({ text: 'open' });
      return null;
    },
  });
  const actor = { name: 'tester', role: 'admin', tenant: 'default' } as const;
  await runCommand(open, { headers: new Headers(), body: '', params: {} }, actor, 'test', wired.ports);
  await wired.settle();
  expect(await wired.seen()).toEqual([1, 2, 3]);
});

test('what the wire brings again of a deferred event changes nothing', async () => {
  const runs: number[] = [];
  await using wired = await WiredService.with(needing(firstNeedsSecond, runs));
  await wired.publish([1]);
  await wired.settle();
  await wired.deliver(wired.message(1));
  expect([runs, await waiting(wired)]).toEqual([[1], 1]);
});

test('a deferral that names a secret leaves it out of journal and dead letter', async () => {
  await using wired = await WiredService.with(async (_event, step) =>
    step.defer('Bearer abcdefghijklmnop', { maxAge: '1s' }),
  );
  await wired.publish([1]);
  await wired.advance(2_000);
  const [letter] = await wired.deadLetters();
  const log = await Array.fromAsync(wired.stores.store.log({ workflow: 'workflows/WF-1' }));
  expect(JSON.stringify([letter!.cause, log])).not.toContain('abcdefghijklmnop');
});

test('events in any order, each waiting for the one before it: all take effect, with no time passing, whoever is killed', async () => {
  const script = fc.record({
    events: fc
      .integer({ min: 2, max: 6 })
      .chain((count) => fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count })),
    together: fc.infiniteStream(fc.boolean()),
    options: fc.constantFrom<SubscriptionOptions>({}, { retry: { attempts: 1 } }),
    fates: fc.infiniteStream(fc.constantFrom<CommitFate>('well', 'well', 'well', 'lost', 'unanswered')),
    repeats: fc.infiniteStream(fc.boolean()),
  });
  await fc.assert(
    fc.asyncProperty(script, async ({ events, together, options, fates, repeats }) => {
      await using wired = await WiredService.with(
        needing((n) => (n === 0 ? undefined : n - 1)),
        options,
      );
      wired.fate = () => fates.next().value!;
      wired.repeats = () => repeats.next().value!;
      for (const n of events) {
        await wired.publish([n]);
        if (!together.next().value) await wired.settle();
      }
      await wired.settle();
      expect(await wired.seen()).toEqual(events.toSorted((a, b) => a - b));
      expect(await waiting(wired)).toBe(0);
    }),
    { numRuns: 100 },
  );
});
