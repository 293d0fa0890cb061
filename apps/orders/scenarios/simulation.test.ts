import { simulate } from '@dormouse/testing';
import { expect, test } from 'vitest';

test('whatever goes wrong, every order is reserved and billed once', { timeout: 300_000 }, async () => {
  const { runs } = await simulate({ system: new URL('../system.ts', import.meta.url), runs: 50 });
  expect(runs).toBe(50);
});
