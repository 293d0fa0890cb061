// Order under what random scripts of failures, kills and repeats do to it.
import { heldBack } from '@dormouse/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { down, hour, inOrder, noting } from './ordered-diary.ts';
import { taker } from './thing.ts';
import { WiredService } from './wired-service.ts';

test('whatever fails, is killed or comes twice: each event takes effect once, in the order of its workflow', async () => {
  const script = fc.record({
    poison: fc.constantFrom('block' as const, 'park' as const, 'park-key' as const),
    /** How often each event fails before it succeeds; 9 is more often than its attempts. */
    failures: fc.array(fc.constantFrom(0, 0, 0, 1, 2, 9), { minLength: 1, maxLength: 8 }),
    fates: fc.infiniteStream(fc.constantFrom('well', 'well', 'well', 'lost', 'unanswered') as fc.Arbitrary<'well'>),
    repeats: fc.infiniteStream(fc.boolean()),
    pauses: fc.infiniteStream(fc.constantFrom(0, 0, 5_000, 60_000)),
  });
  await fc.assert(
    fc.asyncProperty(script, async ({ poison, failures, fates, repeats, pauses }) => {
      const left = [...failures];
      await using wired = await WiredService.with(
        noting((n) => (left[n]! > 0 && left[n]!-- > 0 ? down : undefined)),
        inOrder(poison),
      );
      wired.fate = () => fates.next().value!;
      wired.repeats = () => repeats.next().value!;
      for (const n of failures.keys()) {
        await wired.publish([n]);
        await wired.advance(pauses.next().value!);
      }
      await wired.advance(hour);
      // An operator mends what died, one after the other.
      wired.fate = () => 'well';
      const died: number[] = [];
      for (let round = 0; round < 2 * failures.length; round++) {
        for (const letter of (await wired.deadLetters()).filter(({ state }) => state === 'open')) {
          const { n } = JSON.parse(Buffer.from(letter.message.data, 'base64').toString());
          left[n] = 0;
          died.push(n);
          await wired.ask('redrive', letter.id);
        }
        await wired.advance(hour);
      }
      const all = [...failures.keys()];
      const seen = await wired.seen();
      expect(seen.toSorted((a, b) => a - b)).toEqual(all);
      if (poison !== 'park') expect(seen).toEqual(all);
      else expect(seen.filter((n) => !died.includes(n))).toEqual(all.filter((n) => !died.includes(n)));
      expect(await heldBack(wired.stores.store, taker)).toEqual({ keys: 0, events: 0 });
    }),
    { numRuns: 60 },
  );
});
