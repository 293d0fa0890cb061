import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lowest } from './lowest.ts';

test('property: the lowest that is there, whatever came and went', () => {
  const step = fc.record({ add: fc.array(fc.nat(50)), go: fc.array(fc.nat(50)) });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const lowest = new Lowest<number>((each) => each);
      const there = new Set<number>();
      for (const { add, go } of steps) {
        for (const each of add) {
          lowest.add(each);
          there.add(each);
        }
        for (const each of go) there.delete(each);
        const isThere = (each: number) => there.has(each);
        expect(lowest.first(isThere) ?? Number.POSITIVE_INFINITY).toBe(Math.min(...there));
      }
    }),
  );
});

test('property: what is taken up to a rank is all that is there, in order, and is gone', () => {
  const things = fc.array(fc.record({ at: fc.nat(50), isThere: fc.boolean() }));
  fc.assert(
    fc.property(things, fc.nat(50), (all, rank) => {
      const lowest = new Lowest<(typeof all)[number]>(({ at }) => at);
      for (const each of all) lowest.add(each);
      const isThere = (each: (typeof all)[number]) => each.isThere;
      const there = all.filter(isThere).toSorted((a, b) => a.at - b.at);
      expect(lowest.take(rank, isThere).map(({ at }) => at)).toEqual(
        there.map(({ at }) => at).filter((at) => at <= rank),
      );
      expect(lowest.first(isThere)?.at).toBe(there.map(({ at }) => at).find((at) => at > rank));
    }),
  );
});

test('a low one that stays does not keep what went by above it', () => {
  const lowest = new Lowest<number>((each) => each);
  let seen = 0;
  const isThere = (each: number) => {
    seen++;
    return each === 1 || each > 99_990;
  };
  for (let each = 1; each <= 100_000; each++) {
    lowest.add(each);
    if (each % 100 === 0) lowest.first(isThere);
  }
  // Each a few times, not at every look.
  expect(seen).toBeLessThan(400_000);
});
