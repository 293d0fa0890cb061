import { DormouseError } from './errors.ts';
import type { Ref } from './state-store.ts';

/** Whose documents a listing has: those of `all` tenants, or those of one `tenant`. */
export type ListedOf = 'all' | 'tenant';

/**
 * How the documents of a collection are listed, newest first, by the last part of its path: what `StateStore.find` answers. Each is an index
 * where the store is Firestore, which answers no query without one; so every store refuses what is not here, and a
 * query that production could not answer fails on the first machine that asks it.
 */
export const listings: Readonly<Record<string, readonly ListedOf[]>> = {
  /** The console's page; of a client, `clients/<id>/workflows`, what is erased. */
  workflows: ['all', 'tenant'],
  'dead-letters': ['all', 'tenant'],
  tokens: ['all', 'tenant'],
  /** `timers/<workflow>/named`: what is cancelled; of a tenant, the events that wait for a document. */
  named: ['all', 'tenant'],
  /** `lines/<subscription>/keys`: what is held. */
  keys: ['all'],
  /** `activities/<workflow>/personal`: what is erased. */
  personal: ['all'],
  // Read by their names alone; the first two grow with every step.
  inbox: [],
  activities: [],
  deferrals: [],
  erased: [],
  removed: [],
  // Kept beside the documents where the store has no tables. Nobody's documents are called so.
  heads: [],
  entries: [],
  logless: [],
  outbox: [],
  outboxes: [],
  parts: [],
};

/**
 * For a store that keeps an index of what is listed. It decides when a document is written: for whoever comes to list one that was not before,
 * those stores need a migration.
 */
export function isListed(collection: Ref): boolean {
  return listedIn(collection).length > 0;
}

function listedIn(collection: Ref): readonly ListedOf[] {
  const name = collection.slice(collection.lastIndexOf('/') + 1);
  if (Object.hasOwn(listings, name)) return listings[name]!;
  return name === collection ? [] : ['all'];
}

/** Below a workflow, documents of that name could not be told from those. */
export function isReserved(collection: string): boolean {
  return Object.hasOwn(listings, collection);
}

/**
 * For a store, before it asks. Collections below a document that are not named here are an app's own: Firestore keeps the index of
 * their ages by itself, and none by tenant. @throws DormouseError `query.unindexed`
 */
export function checkListing(collection: Ref, tenant: string | undefined): void {
  const of = tenant === undefined ? 'all' : 'tenant';
  if (listedIn(collection).includes(of)) return;
  const whose = of === 'all' ? 'of all tenants' : 'of one tenant';
  throw new DormouseError(
    'query.unindexed',
    `no index lists the documents of "${collection}" ${whose}; declare it in packages/core/src/listing.ts`,
  );
}
