import { simulate } from '@dormouse/testing';
import { expect, test } from 'vitest';

test('whatever goes wrong, every order is reserved and billed once', async () => {
  const { runs } = await simulate({ system: new URL('../system.ts', import.meta.url), runs: 100 });
  expect(runs).toBe(100);
});
