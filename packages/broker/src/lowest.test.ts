import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lowest } from './lowest.ts';

test('property: the lowest that is there, whatever came and went', () => {
  const step = fc.record({ add: fc.array(fc.nat(50)), go: fc.array(fc.nat(50)) });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const there = new Set<number>();
      const lowest = new Lowest<number>(
        (each) => each,
        (each) => there.has(each),
      );
      for (const { add, go } of steps) {
        for (const each of add) {
          lowest.add(each);
          there.add(each);
        }
        for (const each of go) there.delete(each);
        expect(lowest.first() ?? Number.POSITIVE_INFINITY).toBe(Math.min(...there));
      }
    }),
  );
});

test('property: what is taken up to a rank is all that is there, in order, and is gone', () => {
  const things = fc.array(fc.record({ at: fc.nat(50), isThere: fc.boolean() }));
  fc.assert(
    fc.property(things, fc.nat(50), (all, rank) => {
      const lowest = new Lowest<(typeof all)[number]>(
        ({ at }) => at,
        ({ isThere }) => isThere,
      );
      for (const each of all) lowest.add(each);
      const there = all.filter(({ isThere }) => isThere).toSorted((a, b) => a.at - b.at);
      expect(lowest.take(rank).map(({ at }) => at)).toEqual(there.map(({ at }) => at).filter((at) => at <= rank));
      expect(lowest.first()?.at).toBe(there.map(({ at }) => at).find((at) => at > rank));
    }),
  );
});

test('what stays does not keep what came and went beside it, whether anyone asks or not', () => {
  let seen = 0;
  let most = 0;
  const isThere = (each: number) => {
    seen++;
    return each === 1 || each > most - 100;
  };
  const lowest = new Lowest<number>((each) => each, isThere);
  for (most = 1; most <= 100_000; most++) lowest.add(most);
  // Each a few times, not at every look.
  expect(seen).toBeLessThan(400_000);
  seen = 0;
  expect(lowest.take(most)).toEqual([1, ...Array.from({ length: 100 }, (_, n) => most - 100 + n)].filter(isThere));
  // What had gone was let go of.
  expect(seen).toBeLessThan(3_000);
});
