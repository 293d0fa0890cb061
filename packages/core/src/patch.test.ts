import fc from 'fast-check';
import { expect, test } from 'vitest';
import { applyPatch, difference } from './patch.ts';

type Json = Record<string, unknown>;

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
      expect(applyPatch(before, difference(before, after))).toEqual(after);
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['remove', '/b'],
  ['replace', '/a/b/c'],
] as const)('a patch that would %s what is not there is refused', (op, path) => {
  expect(() => applyPatch({ a: { b: 1 } }, [{ op, path, value: 1 }])).toThrow(`there is nothing at ${path}`);
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
