import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';
import { failuresOf, tableOf } from './report.ts';

const usage = `Usage: npm run chaos -- [options]

Opens cases, kills processes of the whole system at random moments, starts it again, and looks whether every case reaches
its end with each effect once. Exits 1 where something is broken, and leaves the data directories there.

  --rounds N    how many rounds (default 20)
  --seed S      what to kill when, and which cases; printed, so that a run can be repeated (default: random)
  --first N     number of the first round: a round depends on the seed and its number only (default 1)
  --cases N     cases opened in each round (default 4)
`;

function fail(message: string): never {
  process.stderr.write(`chaos: ${message}\n\n${usage}`);
  process.exit(1);
}

function readOptions() {
  try {
    const text = { type: 'string' } as const;
    const { values } = parseArgs({
      options: { rounds: text, seed: text, first: text, cases: text, help: { type: 'boolean', short: 'h' } },
    });
    return values;
  } catch (error) {
    return fail((error as Error).message);
  }
}

const given = readOptions();
if (given.help) {
  process.stdout.write(usage);
  process.exit(0);
}

function count(name: 'rounds' | 'first' | 'cases', otherwise: number): number {
  const value = Number(given[name] ?? otherwise);
  if (!Number.isInteger(value) || value < 1) fail(`--${name} must be a whole number from 1, got "${given[name]}"`);
  return value;
}

const options = {
  seed: given.seed ?? String(Math.floor(Math.random() * 1e9)),
  rounds: count('rounds', 20),
  first: count('first', 1),
  cases: count('cases', 4),
};
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
process.once('SIGTERM', () => interrupted.abort());
const folder = mkdtempSync(join(tmpdir(), 'dormouse-chaos-'));
process.stdout.write(`seed ${options.seed}\n`);
const report = await runChaos({
  ...options,
  folder,
  tell: (text) => process.stdout.write(`${text}\n`),
  signal: interrupted.signal,
});
process.stdout.write(`\n${tableOf(report)}\n`);
if (report.failures.length > 0) {
  process.stdout.write(`\n${failuresOf(report, options.seed, options.cases)}\nleft in ${folder}\n`);
  process.exitCode = 1;
} else {
  rmSync(folder, { recursive: true, force: true });
  if (interrupted.signal.aborted) process.exitCode = 130;
}
