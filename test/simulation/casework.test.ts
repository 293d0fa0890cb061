import { expect, test } from 'vitest';
import { simulateCommand } from './simulate-command.ts';

test('a thousand simulated Casework runs break no invariant', { timeout: 900_000 }, async () => {
  const { code, output } = await simulateCommand('apps/casework', '--runs', '1000', '--seed', '1');
  expect(output).toMatch(/1,000 runs in .* s: every invariant held/);
  expect(code).toBe(0);
});
