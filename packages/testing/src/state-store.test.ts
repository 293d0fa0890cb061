import type { StateStore } from '@dormouse/core';
import { systemClock } from '@dormouse/core';
import { LocalStores, overTheWire } from './local-stores.ts';
import { outboxSuite } from './outbox-suite.ts';
import { stateStoreSuite } from './state-store-suite.ts';

function owned(stores: LocalStores): StateStore & AsyncDisposable {
  return Object.assign(stores.store, { [Symbol.asyncDispose]: () => stores[Symbol.asyncDispose]() });
}

const apart = { apart: true };

stateStoreSuite('SQLite in memory', async () => owned(LocalStores.inMemory()));
stateStoreSuite('SQLite on disk', async () => owned(LocalStores.onDisk()));
stateStoreSuite('SQLite over the wire of the instances', () => overTheWire(LocalStores.onDisk()));
stateStoreSuite('SQLite apart from its broker', async () => owned(LocalStores.inMemory(apart)));
outboxSuite('SQLite', async (clock = systemClock) => owned(LocalStores.onDisk({ ...apart, clock })));
outboxSuite('SQLite over the wire of the instances', (clock = systemClock) =>
  overTheWire(LocalStores.onDisk({ ...apart, clock })),
);
