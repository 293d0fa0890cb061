import { refOf, type StateStore, systemClock } from '@dormouse/core';
import { expect, test } from 'vitest';
import { LocalStores, overTheWire } from './local-stores.ts';
import { outboxSuite } from './outbox-suite.ts';
import { stateStoreSuite } from './state-store-suite.ts';

async function withNews(stores: LocalStores): Promise<LocalStores> {
  await stores.broker.createTopic({ name: 'projects/test/topics/news' });
  return stores;
}

async function owned(stores: LocalStores): Promise<StateStore & AsyncDisposable> {
  await withNews(stores);
  return Object.assign(stores.store, { [Symbol.asyncDispose]: () => stores[Symbol.asyncDispose]() });
}

const apart = { apart: true };

stateStoreSuite('SQLite in memory', () => owned(LocalStores.inMemory()));
stateStoreSuite('SQLite on disk', () => owned(LocalStores.onDisk()));
stateStoreSuite('SQLite over the wire of the instances', async () => overTheWire(await withNews(LocalStores.onDisk())));
stateStoreSuite('SQLite apart from its broker', () => owned(LocalStores.inMemory(apart)));
outboxSuite('SQLite', (clock = systemClock) => owned(LocalStores.onDisk({ ...apart, clock })));
outboxSuite('SQLite over the wire of the instances', (clock = systemClock) =>
  overTheWire(LocalStores.onDisk({ ...apart, clock })),
);

test.each(['.', '..', '__reserved__', 'x'.repeat(1_501), 'é'.repeat(300)])(
  'an id that Firestore does not keep is refused everywhere, with what to do (%#)',
  (id) => {
    const error = expect.objectContaining({ code: 'document.ref', message: expect.stringContaining('use another id') });
    expect(() => refOf('things', id)).toThrow(error);
  },
);

test.each(['...', '__x', '__', 'x__', 'x'.repeat(1_500)])('one that it does is a reference (%#)', (id) => {
  expect(refOf('things', id)).toBe(`things/${id}`);
});

test('a hundred commits at once wait for one sync, or for one that was under way and the next', async () => {
  let syncs = 0;
  const sync = async () => void syncs++;
  await using stores = LocalStores.inMemory({ sync });
  const commit = (n: number) => {
    const writes = [{ ref: `a/${n}`, data: { n } }];
    return stores.store.commit({ tenant: 'default', reads: [], writes, entries: [], journal: [], publish: [] });
  };
  await Promise.all(Array.from({ length: 100 }, (_, n) => commit(n)));
  expect(syncs).toBeGreaterThan(0);
  expect(syncs).toBeLessThanOrEqual(2);
});
