import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test, vi } from 'vitest';
import { builtIn } from '../../packages/testing/src/simulation/invariants/built-in.ts';
import { mutations } from './mutations.ts';

// Processor time, on a machine that may have other work.
vi.setConfig({ testTimeout: 600_000 });

async function simulated(name: string): Promise<{ readonly runs: number; readonly broken: readonly string[] }> {
  const script = join(import.meta.dirname, 'mutated.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [script, name]);
  return JSON.parse(stdout);
}

test.each(mutations)('a planted bug is caught within 1,000 runs: $name', async ({ name, breaks }) => {
  const { runs, broken } = await simulated(name);
  expect(broken, `after ${runs} runs`).toContain(breaks);
});

test('every built-in invariant is broken by at least one planted bug', () => {
  const broken = new Set(mutations.map(({ breaks }) => breaks));
  expect(builtIn.filter(({ name }) => !broken.has(name))).toEqual([]);
});
