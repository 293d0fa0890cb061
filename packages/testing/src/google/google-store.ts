import { type Clock, systemClock, systemRandom } from '@dormouse/core';
import { Firestore, FirestoreStateStore, GoogleRest } from '@dormouse/gcp';

export interface GoogleStore extends AsyncDisposable {
  /** What it is kept in. */
  readonly firestore: Firestore;
}

let projects = 0;

/** An empty store on a Firestore emulator, in a project of its own. It has the topics `news` and `dead.letter`. */
export function googleStore(address: string, clock: Clock = systemClock): FirestoreStateStore & GoogleStore {
  const rest = new GoogleRest({
    url: `http://${address}`,
    token: async () => 'owner',
    clock: systemClock,
    random: systemRandom,
  });
  // What it waits for is real, whatever time it is told.
  const told: Clock = { ...systemClock, now: () => clock.now() };
  const firestore = new Firestore({ project: `test-${++projects}`, rest });
  const store = new FirestoreStateStore({
    firestore,
    clock: told,
    random: systemRandom,
    system: 'test',
    declares: (topic) => ['news', 'dead.letter'].includes(topic),
    audit: false,
  });
  return Object.assign(store, { firestore, [Symbol.asyncDispose]: async () => rest.close() });
}
