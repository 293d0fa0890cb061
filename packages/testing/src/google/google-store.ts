import { type Clock, systemClock, systemRandom } from '@dormouse/core';
import { Firestore, FirestoreStateStore, GoogleRest } from '@dormouse/gcp';

export interface GoogleStore extends AsyncDisposable {
  /** What it is kept in. */
  readonly firestore: Firestore;
  readonly project: string;
}

let projects = 0;

/**
 * A store on a Firestore emulator. It has the topics `news` and `dead.letter`.
 * @param project of a store that is there: another process's, on the same documents. Default: one of its own, which is empty
 */
export function googleStore(
  address: string,
  clock: Clock = systemClock,
  project = `test-${++projects}`,
): FirestoreStateStore & GoogleStore {
  const rest = new GoogleRest({
    url: `http://${address}`,
    token: async () => 'owner',
    clock: systemClock,
    random: systemRandom,
  });
  // What it waits for is real, whatever time it is told.
  const told: Clock = { ...systemClock, now: () => clock.now() };
  const firestore = new Firestore({ project, rest });
  const store = new FirestoreStateStore({
    firestore,
    clock: told,
    random: systemRandom,
    system: 'test',
    declares: (topic) => ['news', 'dead.letter'].includes(topic),
    audit: false,
  });
  return Object.assign(store, { firestore, project, [Symbol.asyncDispose]: async () => rest.close() });
}
