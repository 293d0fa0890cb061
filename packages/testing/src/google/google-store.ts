import { type Clock, systemClock, systemRandom } from '@dormouse/core';
import { Firestore, FirestoreStateStore, GoogleRest } from '@dormouse/gcp';

let projects = 0;

/** An empty store on a Firestore emulator, in a project of its own. It has the topic `news`. */
export function googleStore(
  address: string,
  { clock = systemClock, project = `test-${++projects}` }: { readonly clock?: Clock; readonly project?: string } = {},
): FirestoreStateStore & AsyncDisposable {
  const rest = new GoogleRest({
    url: `http://${address}`,
    token: async () => 'owner',
    clock: systemClock,
    random: systemRandom,
  });
  const store = new FirestoreStateStore({
    firestore: new Firestore({ project, rest }),
    clock,
    random: systemRandom,
    system: 'test',
    declares: (topic) => topic === 'news',
    audit: false,
  });
  return Object.assign(store, { [Symbol.asyncDispose]: async () => rest.close() });
}
