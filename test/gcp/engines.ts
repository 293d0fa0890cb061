import { systemClock, systemRandom } from '@dormouse/core';
import { AccessTokens, GoogleRest, TokenKeys, type TokenSource, tokenCheck } from '@dormouse/gcp';
import { MetadataServer } from '../../packages/testing/src/google/metadata-server.ts';
import { StorageServer } from '../../packages/testing/src/google/storage-server.ts';
import { TasksServer } from '../../packages/testing/src/google/tasks-server.ts';
import { Emulator, findEmulator } from '../../packages/testing/src/google-emulator.ts';

/** Why these engines cannot be had here; undefined where they can. */
export function enginesMissing(): string | undefined {
  for (const kind of ['firestore', 'pubsub'] as const) {
    const found = findEmulator(kind);
    if ('missing' in found) return found.missing;
  }
  return undefined;
}

/** Google's engines as far as they run here: its emulators of Firestore and Pub/Sub, and servers of the other APIs. */
export class Engines implements AsyncDisposable {
  readonly firestore: Emulator;
  readonly pubsub: Emulator;
  readonly metadata: MetadataServer;
  readonly storage: StorageServer;
  readonly tasks: TasksServer;

  private constructor(
    firestore: Emulator,
    pubsub: Emulator,
    metadata: MetadataServer,
    storage: StorageServer,
    tasks: TasksServer,
  ) {
    this.firestore = firestore;
    this.pubsub = pubsub;
    this.metadata = metadata;
    this.storage = storage;
    this.tasks = tasks;
  }

  static async start(): Promise<Engines> {
    const metadata = await MetadataServer.start({ clock: systemClock });
    const admits = (authorization: string | undefined) => metadata.admits(authorization);
    const [firestore, pubsub, storage, tasks] = await Promise.all([
      emulator('firestore'),
      emulator('pubsub'),
      StorageServer.start({ admits }),
      TasksServer.start({ clock: systemClock, signer: metadata, admits }),
    ]);
    return new Engines(firestore, pubsub, metadata, storage, tasks);
  }

  /** A server of these, over REST. */
  rest(address: string, token?: TokenSource): GoogleRest {
    return new GoogleRest({ url: `http://${address}`, token, clock: systemClock, random: systemRandom });
  }

  async createBucket(name: string): Promise<void> {
    const { token } = new AccessTokens(this.rest(this.metadata.address), systemClock);
    await this.rest(this.storage.address, token).json({ method: 'POST', path: '/storage/v1/b', json: { name } });
  }

  /** As Cloud Run checks whom it lets in, by the keys at these addresses. */
  admission(serviceAccount: string, identities: readonly string[]) {
    const keys = new TokenKeys(
      identities.map((each) => this.rest(each)),
      systemClock,
    );
    return (audience: string, token: string | undefined) =>
      tokenCheck({ keys, audience, serviceAccount, clock: systemClock })(token);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.firestore[Symbol.dispose]();
    this.pubsub[Symbol.dispose]();
    await Promise.all([this.metadata, this.storage, this.tasks].map((each) => each[Symbol.asyncDispose]()));
  }
}

function emulator(kind: 'firestore' | 'pubsub'): Promise<Emulator> {
  const found = findEmulator(kind);
  if ('missing' in found) throw new Error(found.missing);
  return Emulator.start(found);
}
