import {
  auditLog,
  type Clock,
  Foresight,
  type Logger,
  type PubsubClient,
  type Random,
  Relay,
  type StepPorts,
  type Topic,
} from '@dormouse/core';
import { GcsBlobStore } from './blob-store.ts';
import type { Firestore } from './firestore.ts';
import type { GoogleRest } from './google-rest.ts';
import { TaskScheduler } from './scheduler.ts';
import { FirestoreStateStore } from './state-store.ts';

export interface GooglePortsOptions {
  readonly declared: { readonly system: string; readonly topics: readonly Pick<Topic, 'name'>[] };
  readonly firestore: Firestore;
  readonly storage: GoogleRest;
  readonly bucket: string;
  readonly pubsub: PubsubClient;
  readonly tasks: GoogleRest;
  /** For timers, `projects/P/locations/L/queues/Q`. */
  readonly queue: string;
  /** Where tasks go, and whose tokens they bear. */
  readonly serviceUrl: string;
  readonly serviceAccount: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** What a step has on Google's engines, and a tick. */
export interface GooglePorts extends StepPorts {
  readonly store: FirestoreStateStore;
  readonly relay: Relay;
  readonly waker: TaskScheduler;
}

export function googlePorts({
  declared,
  firestore,
  pubsub,
  clock,
  random,
  log,
  ...by
}: GooglePortsOptions): GooglePorts {
  const { system } = declared;
  const topics = new Set(declared.topics.map(({ name }) => name));
  const declares = (topic: string) => topics.has(topic);
  const audit = declares(auditLog.name);
  const store = new FirestoreStateStore({ firestore, clock, random, system, declares, audit });
  const { queue, serviceUrl, serviceAccount } = by;
  return {
    store,
    blobs: new GcsBlobStore({ rest: by.storage, bucket: by.bucket }),
    clock,
    random,
    relay: new Relay(store, pubsub, log),
    waker: new TaskScheduler({ rest: by.tasks, queue, serviceUrl, serviceAccount, clock, log }),
    foresight: new Foresight(),
  };
}
