import fc from 'fast-check';
import { expect, test } from 'vitest';
import { feeSchedule } from './fee-schedule.ts';

function entryFor(names: readonly string[], merchant: string, description = ''): number {
  const entries = names.map((name) => ({ name, maxMinor: 1 }));
  const entry = feeSchedule(entries)({
    id: 'a',
    date: '2025-01-01',
    merchant,
    description,
    amountMinor: 1,
    kind: 'fee',
  });
  return entries.indexOf(entry!);
}

test.each<[names: string[], merchant: string, description: string, position: number]>([
  [['wire', 'card'], 'Bank', 'Card fee', 1],
  [['wire', 'bank'], 'THE BANK', '', 1],
  [['Überweisung'], 'Bank', 'ÜBERWEISUNG', 0],
  [['转账', '跨行转账'], '银行', '跨行转账费', 1],
  [['wire', 'wire abroad'], 'Bank', 'wire abroad', 1],
  [['card', 'bank'], 'Bank', 'Card', 0],
  [['bank', 'card'], 'Bank', 'Card', 0],
  [['card', 'CARD'], 'Bank', 'Card', 0],
  [['bank fee'], 'Bank', ' fee', -1],
  [[], 'Bank', 'fee', -1],
])('of %j, a fee of %j for %j is entry %d', (names, merchant, description, position) => {
  expect(entryFor(names, merchant, description)).toBe(position);
});

test('names that overlap in any way are found as by looking for each', () => {
  const word = (minLength: number, maxLength: number) =>
    fc.string({ unit: fc.constantFrom('a', 'A', 'b', 'c'), minLength, maxLength });
  fc.assert(
    fc.property(fc.array(word(1, 5), { maxLength: 8 }), word(1, 10), word(0, 10), (names, merchant, description) => {
      const isIn = (name: string) =>
        [merchant, description].some((text) => text.toLowerCase().includes(name.toLowerCase()));
      const matching = names.filter(isIn);
      const longest = matching.find(({ length }) => length === Math.max(...matching.map((name) => name.length)));
      expect(entryFor(names, merchant, description)).toBe(longest === undefined ? -1 : names.indexOf(longest));
    }),
    { numRuns: 5000 },
  );
});
