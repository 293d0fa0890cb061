// Real: Google's Firestore emulator, one for all tests, a project for each.
import type { Clock, StateStore } from '@dormouse/core';
import { afterAll, beforeAll, test } from 'vitest';
import { googleStore } from './google/google-store.ts';
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

  const open = async (clock?: Clock): Promise<StateStore & AsyncDisposable> =>
    googleStore(emulator.address, clock && { clock });
  stateStoreSuite('Firestore', () => open());
  outboxSuite('Firestore', open);
}
