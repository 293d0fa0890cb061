import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChaos } from './chaos.ts';
import { chaosCommand, conclude } from './command.ts';
import { failuresOf, tableOf } from './report.ts';

const usage = `Usage: npm run chaos -- [options]

Opens cases, kills processes of the whole system at random moments, starts it again, and looks whether every case reaches
its end with each effect once. Exits 1 where something is broken, and leaves the data directories there.

  --rounds N    how many rounds (default 20)
  --seed S      what to kill when, and which cases; printed, so that a run can be repeated (default: random)
  --first N     number of the first round: a round depends on the seed and its number only (default 1)
  --cases N     cases opened in each round (default 4)
`;

const { options, signal } = chaosCommand('chaos', usage, { rounds: 20, first: 1, cases: 4 });
const folder = mkdtempSync(join(tmpdir(), 'dormouse-chaos-'));
process.stdout.write(`seed ${options.seed}\n`);
const report = await runChaos({
  ...options,
  folder,
  tell: (text) => process.stdout.write(`${text}\n`),
  signal,
});
const failures = report.failures.length > 0 ? failuresOf(report, options.seed, options.cases) : undefined;
conclude(tableOf(report), failures, folder, signal);
