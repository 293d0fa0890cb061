import fc from 'fast-check';
import { expect, test } from 'vitest';
import { difference, type PatchOperation } from './patch.ts';

type Json = Record<string, unknown>;

/** RFC 6902 as it is written, for the three operations a difference uses. */
function apply(document: Json | null, patch: readonly PatchOperation[]): Json | null {
  let result: unknown = structuredClone(document);
  for (const operation of patch) {
    if (operation.path === '') {
      result = operation.op === 'remove' ? null : operation.value;
      continue;
    }
    const tokens = operation.path
      .slice(1)
      .split('/')
      .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = tokens.pop()!;
    const parent = tokens.reduce((at, token) => (at as Json)[token], result) as Json;
    if (operation.op !== 'add' && !Object.hasOwn(parent, last)) throw new Error(`nothing at ${operation.path}`);
    if (operation.op === 'remove') delete parent[last];
    else parent[last] = operation.value;
  }
  return result as Json | null;
}

const key = fc.constantFrom('a', 'b', 'c/d', 'e~f', '~1', '');
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, 0, 1, 'x', ''),
    fc.array(tie('any'), { maxLength: 2 }),
    tie('object'),
  ),
  object: fc.dictionary(key, tie('any'), { maxKeys: 4, noNullPrototype: true }),
}));
const document = fc.option(value.object as fc.Arbitrary<Json>);

test('property: the difference, applied, turns one document into the other', () => {
  fc.assert(
    fc.property(document, document, (before, after) => {
      expect(apply(before, difference(before, after))).toEqual(after);
    }),
    { numRuns: 2_000 },
  );
});

test('property: a document does not differ from itself', () => {
  fc.assert(
    fc.property(document, (same) => {
      expect(difference(same, structuredClone(same))).toEqual([]);
    }),
  );
});

test('only what changed is named', () => {
  const before = { status: 'a', intake: { approved: true, validated: true }, list: [1, 2] };
  const after = { status: 'b', intake: { approved: true }, list: [1, 2], more: {} };
  expect(difference(before, after)).toEqual([
    { op: 'replace', path: '/status', value: 'b' },
    { op: 'remove', path: '/intake/validated' },
    { op: 'add', path: '/more', value: {} },
  ]);
});
