// Real: Google's Firestore emulator, one for all tests, a project for each.
import { type Clock, type StateStore, systemClock, systemRandom } from '@dormouse/core';
import { Firestore, FirestoreStateStore } from '@dormouse/gcp';
import { afterAll, beforeAll, test } from 'vitest';
import { Emulator, findEmulator, skipWithout } from './google-emulator.ts';
import { outboxSuite } from './outbox-suite.ts';
import { stateStoreSuite } from './state-store-suite.ts';

const found = findEmulator('firestore');
if ('missing' in found) skipWithout('Firestore', found.missing, test.skip);
else {
  let emulator: Emulator;
  let projects = 0;
  beforeAll(async () => {
    emulator = await Emulator.start(found);
  });
  afterAll(() => emulator[Symbol.dispose]());

  const open = async (clock: Clock = systemClock): Promise<StateStore & AsyncDisposable> => {
    const project = `test-${++projects}`;
    const firestore = new Firestore({ project, emulator: emulator.address, token: async () => 'owner' });
    const store = new FirestoreStateStore({
      firestore,
      clock,
      random: systemRandom,
      system: 'test',
      declares: (topic) => topic === 'news',
      audit: false,
    });
    return Object.assign(store, { [Symbol.asyncDispose]: async () => firestore.close() });
  };
  stateStoreSuite('Firestore', () => open());
  outboxSuite('Firestore', open);
}
