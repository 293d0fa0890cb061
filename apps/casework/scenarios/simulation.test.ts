import { simulate } from '@dormouse/testing';
import { expect, test } from 'vitest';

// A thousand of them are in test/simulation.
test('whatever goes wrong, cases come to their end, and what must hold of them holds', {
  timeout: 300_000,
}, async () => {
  const { runs } = await simulate({ system: new URL('../system.ts', import.meta.url), runs: 10 });
  expect(runs).toBe(10);
});
