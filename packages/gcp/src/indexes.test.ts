import { collection } from '@dormouse/core';
import { expect, test } from 'vitest';
import { checkIndexed, firestoreIndexes } from './indexes.ts';
import { integer, text } from './value.ts';

const createdAt = [
  { field: 'createdAt', direction: 'DESCENDING' },
  { field: '__name__', direction: 'DESCENDING' },
] as const;
const ofTenant = [{ field: 'tenant', op: 'EQUAL', value: text('acme') }];

test('a listing by tenant has an index of two fields, any other one of its own field and no more', () => {
  const { indexes, fieldOverrides } = firestoreIndexes();
  expect(indexes).toContainEqual({
    collectionGroup: 'workflows',
    queryScope: 'COLLECTION',
    fields: [
      { fieldPath: 'tenant', order: 'ASCENDING' },
      { fieldPath: 'createdAt', order: 'DESCENDING' },
    ],
  });
  const ofTimers = fieldOverrides.filter(({ collectionGroup }) => collectionGroup === 'named');
  expect(ofTimers).toEqual([
    { collectionGroup: 'named', fieldPath: '*', indexes: [] },
    {
      collectionGroup: 'named',
      fieldPath: 'createdAt',
      indexes: [{ order: 'DESCENDING', queryScope: 'COLLECTION' }],
    },
    {
      collectionGroup: 'named',
      fieldPath: 'dueAt',
      indexes: [{ order: 'ASCENDING', queryScope: 'COLLECTION_GROUP' }],
    },
  ]);
});

test('no collection of an app is called as one with rules of ours: it would lose its indexes, or its documents', () => {
  for (const name of new Set(firestoreIndexes().fieldOverrides.map(({ collectionGroup }) => collectionGroup))) {
    expect(() => collection(name)).toThrow(`collection "${name}" is called as one of Dormouse's own; use another name`);
  }
});

test('no field has two overrides, and nothing that waits to be sent expires', () => {
  const { fieldOverrides } = firestoreIndexes();
  const places = fieldOverrides.map(({ collectionGroup, fieldPath }) => `${collectionGroup} ${fieldPath}`);
  expect(new Set(places).size).toBe(places.length);
  const expiring = fieldOverrides.filter(({ ttl }) => ttl).map(({ collectionGroup }) => collectionGroup);
  expect(expiring.toSorted()).toEqual(['activities', 'inbox', 'parts', 'personal']);
});

test.each([
  [
    'timers of all workflows, by when they are due',
    { collection: 'named', allDescendants: true, where: [due()], orderBy: [{ field: 'dueAt' }] },
  ],
  ['workflows of a tenant', { collection: 'workflows', where: ofTenant, orderBy: createdAt }],
  ['documents that are an app’s', { parent: 'workflows/WF-1', collection: 'letters', orderBy: createdAt }],
])('%s: an index serves that', (_what, query) => {
  expect(() => checkIndexed({ ...query, limit: 1 })).not.toThrow();
});

test.each([
  [
    'timers of one workflow, by when they are due',
    { collection: 'named', where: [due()], orderBy: [{ field: 'dueAt' }] },
  ],
  ['workflows the other way round', { collection: 'workflows', orderBy: [{ field: 'createdAt' }] }],
  ['workflows by another field', { collection: 'workflows', where: [due()], orderBy: createdAt }],
  [
    'documents that are an app’s, of a tenant',
    { parent: 'workflows/WF-1', collection: 'letters', where: ofTenant, orderBy: createdAt },
  ],
  ['documents of that name everywhere', { collection: 'letters', allDescendants: true, orderBy: createdAt }],
])('%s: no index serves that, and it is told before Firestore is asked', (_what, query) => {
  expect(() => checkIndexed({ ...query, limit: 1 })).toThrow(
    expect.objectContaining({
      code: 'query.unindexed',
      message: expect.stringContaining(`no index of "${query.collection}"`),
    }),
  );
});

function due() {
  return { field: 'dueAt', op: 'LESS_THAN_OR_EQUAL', value: integer(1) };
}
