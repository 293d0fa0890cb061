// Real: Google's Firestore emulator, one for all tests, a project for each.
import { randomBytes } from 'node:crypto';
import {
  type Clock,
  commitUnit,
  firing,
  type Message,
  Relay,
  type StateStore,
  systemClock,
  tick,
  type Unsent,
} from '@dormouse/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type GoogleStore, googleStore } from './google/google-store.ts';
import { Emulator, findEmulator, skipWithout } from './google-emulator.ts';
import { outboxSuite } from './outbox-suite.ts';
import { stateStoreSuite } from './state-store-suite.ts';

const found = findEmulator('firestore');
if ('missing' in found) skipWithout('Firestore', found.missing, test.skip);
else {
  let emulator: Emulator;
  beforeAll(async () => {
    emulator = await Emulator.start(found);
  });
  afterAll(() => emulator[Symbol.dispose]());

  const open = async (clock?: Clock): Promise<StateStore & AsyncDisposable> => googleStore(emulator.address, clock);
  stateStoreSuite('Firestore', () => open());
  outboxSuite('Firestore', open);

  const timer = 'timers/WF-1/named/reminder';
  const nothing = { tenant: 'default', reads: [], writes: [], entries: [], journal: [], publish: [] };
  const newsOf = (data: string) => ({ topic: 'news', attributes: { 'ce-subject': 'workflows/WF-1' }, data });
  /** What lies beside documents, of whatever kind. */
  const partsIn = async ({ firestore }: GoogleStore) => {
    const found = await firestore.query({ collection: 'parts', orderBy: [{ field: '__name__' }], limit: 1000 });
    return found.map(({ path, updateTime }) => [path, updateTime]);
  };

  test('a message of megabytes waits in a timer, fires, is sent and leaves nothing', async () => {
    await using store = googleStore(emulator.address);
    // Nothing can make it smaller. The emulator takes no commit above 4 MiB.
    const message = newsOf(randomBytes(3_900_000).toString('base64'));
    const data = { name: 'reminder', generation: 'G1', dueAt: 1, message };
    await store.commit({ ...nothing, writes: [{ ref: timer, data, dueAt: 1 }] });
    const isWhole = async () => JSON.stringify((await store.get([timer]))[0]!.data) === JSON.stringify(data);
    expect(await isWhole()).toBe(true);
    const [due] = await store.due(2, 10);
    const { unsent } = await store.commit(firing(due!));
    const [left] = await store.unsent({});
    expect(left!.message.data === message.data).toBe(true);
    await store.sent(unsent.map(({ id }) => id));
    expect(await isWhole()).toBe(true);
    await store.commit({ ...nothing, writes: [{ ref: timer, data: null }] });
    expect(await partsIn(store)).toEqual([]);
  });

  // Compressed next to nothing, as the emulator wants it, and as long as any message when it is read.
  const long = 'x'.repeat(8_000_000);
  const lengthOf = (messages: readonly { readonly data: string }[]) =>
    messages.reduce((sum, { data }) => sum + data.length, 0);
  const quiet = { info() {}, warn() {}, error() {} };

  test('of messages that are long no more are read at once than a small container holds, and all leave in their order', async () => {
    await using store = googleStore(emulator.address);
    const names = ['0', '1', '2', '3', '4', '5', '6'];
    const unitOf = (name: string, data: string) => {
      const message = newsOf(data);
      return { ...nothing, publish: [{ ...message, attributes: { ...message.attributes, name } }] };
    };
    const namesOf = (unsent: readonly Unsent[]) => unsent.map(({ message }) => message.attributes.name);
    for (const name of names) {
      const { unsent } = await store.commit(unitOf(name, long));
      expect(lengthOf(unsent.map(({ message }) => message))).toBeLessThan(50_000_000);
    }
    for (const query of [{}, { workflow: 'workflows/WF-1' }]) {
      const unsent = await store.unsent(query);
      expect(lengthOf(unsent.map(({ message }) => message))).toBeLessThan(42_000_000);
      expect(namesOf(unsent)).toEqual(names.slice(0, unsent.length));
    }
    const arrived: (string | undefined)[] = [];
    const publish = async (_topic: string, messages: readonly { readonly attributes: Record<string, string> }[]) =>
      void arrived.push(...messages.map(({ attributes }) => attributes.name));
    const relay = new Relay(store, { publish }, quiet);
    let looksAgain = 0;
    const waker = { wake: async () => {}, expectSent: async () => void looksAgain++ };
    await commitUnit({ store, relay, waker }, unitOf('7', ''));
    // Not all of it has left with its unit: somebody has to look.
    expect(arrived).toEqual(names.slice(0, arrived.length));
    expect(looksAgain).toBe(1);
    expect(await relay.drain({ before: systemClock.now() + 60_000 })).toEqual([]);
    expect(arrived).toEqual([...names, '7']);
    expect(await partsIn(store)).toEqual([]);
  });

  test('of timers whose messages are long no more are read at once than a small container holds, and one tick fires all', async () => {
    await using store = googleStore(emulator.address);
    const names = ['0', '1', '2', '3', '4', '5', '6'];
    for (const [n, name] of names.entries()) {
      const data = { name, generation: name, dueAt: n + 1, message: newsOf(long) };
      await store.commit({
        ...nothing,
        writes: [{ ref: `timers/WF-1/named/${name}`, data, dueAt: n + 1, settledAt: n + 1 }],
      });
    }
    const due = await store.due(100, 100);
    expect(due.map(({ data }) => data!.name)).toEqual(names.slice(0, due.length));
    expect(lengthOf(due.map(({ data }) => data!.message as Message))).toBeLessThan(42_000_000);
    let arrived = 0;
    const publish = async (_topic: string, messages: readonly unknown[]) => {
      arrived += messages.length;
    };
    const relay = new Relay(store, { publish }, quiet);
    const waker = { wake: async () => {}, expectSent: async () => {} };
    const { due: fired } = await tick({ store, relay, waker, clock: systemClock });
    expect([fired, arrived]).toEqual([names.length, names.length]);
  });

  test('a long text is written once, though its document is written again and again', async () => {
    await using store = googleStore(emulator.address);
    const message = newsOf(randomBytes(1_500_000).toString('base64'));
    const ref = 'dead-letters/D1';
    const write = async (data: Record<string, unknown>) => {
      const reads = await store.get([ref]);
      await store.commit({ ...nothing, reads, writes: [{ ref, data }] });
    };
    await write({ state: 'open', message });
    const before = await partsIn(store);
    expect(before).toHaveLength(2);
    await write({ state: 'redriving', message });
    expect(await partsIn(store)).toEqual(before);
    const [found] = await store.get([ref]);
    expect(found!.data!.state).toBe('redriving');
    expect(found!.data!.message).toEqual(message);
    await write({ state: 'resolved' });
    expect(await partsIn(store)).toEqual([]);
  });

  test('what lies beside a document that expires does too, a month later, and no longer when that is kept again', async () => {
    await using store = googleStore(emulator.address);
    const message = newsOf(randomBytes(400_000).toString('base64'));
    const memory = 'inbox/E1';
    const settledAt = Date.UTC(2026, 0, 1);
    const write = async (settled?: { settledAt: number }) => {
      const reads = await store.get([memory]);
      const data = { message, ...(settled && { state: 'settled' }) };
      await store.commit({ ...nothing, reads, writes: [{ ref: memory, data, ...settled }] });
    };
    const expiries = async () => {
      const documents = await store.firestore.get([memory, (await partsIn(store))[0]![0]!]);
      return documents.map((document) => document!.fields.expireAt);
    };
    await write();
    expect(await expiries()).toEqual([undefined, undefined]);
    // Of either kind: the same message settled, and a new one that is settled at once.
    await write({ settledAt });
    const dayMs = 86_400_000;
    const told = [settledAt + 45 * dayMs, settledAt + 75 * dayMs].map((ms) => ({
      timestampValue: new Date(ms).toISOString().replace('.000', ''),
    }));
    expect(await expiries()).toEqual(told);
    await write();
    expect(await expiries()).toEqual([undefined, undefined]);
    await store.commit({ ...nothing, writes: [{ ref: memory, data: null }] });
    await write({ settledAt });
    expect(await expiries()).toEqual(told);
    expect((await store.get([memory]))[0]!.data!.message).toEqual(message);
  });

  test('whoever reads while it is written anew reads one or the other', async () => {
    await using store = googleStore(emulator.address);
    const texts = [1, 2].map(() => randomBytes(500_000).toString('base64'));
    const write = (n: number) =>
      store.commit({ ...nothing, writes: [{ ref: 'dead-letters/D1', data: { message: newsOf(texts[n % 2]!) } }] });
    await write(0);
    let isWriting = true;
    const reading = (async () => {
      for (; isWriting; ) {
        const [found] = await store.get(['dead-letters/D1']);
        expect(texts.indexOf((found!.data!.message as Message).data)).not.toBe(-1);
      }
    })();
    for (let n = 1; n < 15; n++) await write(n);
    isWriting = false;
    await reading;
  });

  test('what is large for other reasons than a long text is refused before anything is written, with what to do', async () => {
    await using store = googleStore(emulator.address);
    const many = Array.from({ length: 60_000 }, (_, n) => `a value, ${n} of many`);
    const work = store.commit({ ...nothing, writes: [{ ref: 'things/T1', data: { many } }] });
    await expect(work).rejects.toMatchObject({
      code: 'store.limit',
      message: expect.stringMatching(/things\/T1.*step\.files\.put/),
    });
    // The limit of a commit, and the emulator's.
    for (const bytes of [9_900_000, 4_500_000]) {
      const large = newsOf(randomBytes(bytes).toString('base64'));
      await expect(store.commit({ ...nothing, publish: [large] })).rejects.toMatchObject({ code: 'store.limit' });
    }
    const two = [1, 2].map(() => newsOf(randomBytes(9_000_000).toString('base64')));
    await expect(store.commit({ ...nothing, publish: two })).rejects.toMatchObject({ code: 'store.limit' });
    expect(await store.unsent({})).toEqual([]);
    expect(await partsIn(store)).toEqual([]);
  });
}
