import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lowest } from './lowest.ts';

test('property: the lowest that is there, whatever came and went', () => {
  const step = fc.record({ add: fc.array(fc.nat(50)), go: fc.array(fc.nat(50)) });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const lowest = new Lowest();
      const there = new Set<number>();
      for (const { add, go } of steps) {
        for (const each of add) {
          lowest.add(each);
          there.add(each);
        }
        for (const each of go) there.delete(each);
        expect(lowest.of((each) => there.has(each))).toBe(Math.min(...there));
      }
    }),
  );
});

test('a low one that stays does not keep what went by above it', () => {
  const lowest = new Lowest();
  let seen = 0;
  const isThere = (each: number) => {
    seen++;
    return each === 1 || each > 99_990;
  };
  for (let each = 1; each <= 100_000; each++) {
    lowest.add(each);
    if (each % 100 === 0) lowest.of(isThere);
  }
  // Each a few times, not at every look.
  expect(seen).toBeLessThan(400_000);
});
