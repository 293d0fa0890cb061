import { DormouseError, listings, type Ref } from '@dormouse/core';
import type { Query } from './firestore.ts';

type Direction = 'ASCENDING' | 'DESCENDING';

/** One index of the collections of a name: each alone, or all together. */
interface Index {
  readonly collectionGroup: string;
  readonly queryScope: 'COLLECTION' | 'COLLECTION_GROUP';
  readonly fields: readonly { readonly fieldPath: string; readonly order: Direction }[];
}

/** In the form of firestore.indexes.json. Source: firebase.google.com/docs/reference/firestore/indexes. */
export interface FirestoreIndexes {
  readonly indexes: readonly Index[];
  readonly fieldOverrides: readonly FieldOverride[];
}

interface FieldOverride {
  readonly collectionGroup: string;
  /** `*`: every field of these documents that has no override of its own. */
  readonly fieldPath: string;
  readonly ttl?: true;
  readonly indexes: readonly { readonly order: Direction; readonly queryScope: Index['queryScope'] }[];
}

const newestFirst = { fieldPath: 'createdAt', order: 'DESCENDING' } as const;

/** What the store asks of collections that it keeps itself, and of all timers. */
const ofTheStore: readonly Index[] = [
  index('named', [{ fieldPath: 'dueAt', order: 'ASCENDING' }], 'COLLECTION_GROUP'),
  index('outbox', [{ fieldPath: 'at', order: 'ASCENDING' }]),
  index('entries', [{ fieldPath: 'position', order: 'ASCENDING' }]),
];

const declared: readonly Index[] = [
  ...Object.entries(listings).flatMap(([collection, each]) =>
    each.map((of) =>
      index(collection, of === 'all' ? [newestFirst] : [{ fieldPath: 'tenant', order: 'ASCENDING' }, newestFirst]),
    ),
  ),
  ...ofTheStore,
];

/**
 * Documents that carry `expireAt` once only a repeat of what is done would ask for them, and what lies beside those. Not the outbox: what is
 * there was not sent, and goes when it was. Not consumed timers: one subscription consumes, and the dead letter of another asks for the
 * timer whenever it is redriven; Firestore goes by the time alone. There is one of each name a workflow, without its message.
 */
const expiring = ['inbox', 'activities', 'personal', 'parts'];

/** Whether a document goes some time after it was settled. */
export function isExpiring(ref: Ref): boolean {
  return expiring.includes(ref.split('/').at(-2)!);
}

/**
 * All indexes, and what has none: of the collections named here no field is indexed but those, since each index is written with
 * every document, and one of times that only grow is written at one place.
 */
export function firestoreIndexes(): FirestoreIndexes {
  return {
    indexes: declared.filter(({ fields }) => fields.length > 1),
    fieldOverrides: Object.keys(listings).flatMap((collectionGroup) => {
      const single = declared.filter((each) => each.collectionGroup === collectionGroup && each.fields.length === 1);
      return [
        { collectionGroup, fieldPath: '*', indexes: [] },
        ...single.map(({ queryScope, fields: [field] }) => ({
          collectionGroup,
          fieldPath: field!.fieldPath,
          indexes: [{ order: field!.order, queryScope }],
        })),
        ...(expiring.includes(collectionGroup)
          ? [{ collectionGroup, fieldPath: 'expireAt', ttl: true as const, indexes: [] }]
          : []),
      ];
    }),
  };
}

/**
 * Emulators answer any query; Google's Firestore only what an index serves. @throws DormouseError `query.unindexed`
 */
export function checkIndexed(query: Query): void {
  const { collection: collectionGroup, allDescendants = false, where = [], orderBy } = query;
  const ordered = orderBy.filter(({ field }) => field !== '__name__');
  const filtered = where.filter(({ field }) => !ordered.some((each) => each.field === field));
  const needed = index(
    collectionGroup,
    [
      ...filtered.map(({ field }) => ({ fieldPath: field, order: 'ASCENDING' as const })),
      ...ordered.map(({ field, direction = 'ASCENDING' }) => ({ fieldPath: field, order: direction })),
    ],
    allDescendants ? 'COLLECTION_GROUP' : 'COLLECTION',
  );
  // Of an app's own collections Firestore indexes each field by itself.
  const isAutomatic = !Object.hasOwn(listings, collectionGroup) && !allDescendants && needed.fields.length === 1;
  if (isAutomatic || declared.some((each) => JSON.stringify(each) === JSON.stringify(needed))) return;
  const fields = needed.fields.map(({ fieldPath, order }) => `${fieldPath} ${order}`).join(', ');
  throw new DormouseError(
    'query.unindexed',
    `no index of "${collectionGroup}" serves a query by ${fields} (${needed.queryScope}); declare it in packages/gcp/src/indexes.ts`,
  );
}

function index(
  collectionGroup: string,
  fields: Index['fields'],
  queryScope: Index['queryScope'] = 'COLLECTION',
): Index {
  return { collectionGroup, queryScope, fields };
}
