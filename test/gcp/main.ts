import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeSystem } from '@dormouse/local';
import { makeImageFolders } from '../../deploy/image-folder.ts';
import { failuresOf, runGoogleChaos, tableOf } from './chaos.ts';
import { Engines, enginesMissing } from './engines.ts';

const usage = `Usage: npm run chaos:gcp -- [options]

Opens cases on Google's emulators, half of the rounds with our own broker in place of theirs; kills the services' instances at
random moments, and looks whether every case ends as it does on one machine, with each effect once. Exits 1 where something
is broken. Needs the Cloud SDK with its emulators, and java.

  --rounds N    how many rounds (default 50)
  --seed S      what to kill when, and which cases; printed, so that a run can be repeated (default: random)
  --first N     number of the first round: a round depends on the seed and its number only (default 1)
  --cases N     cases opened in each round (default 3)
`;

function fail(message: string): never {
  process.stderr.write(`chaos:gcp: ${message}\n\n${usage}`);
  process.exit(1);
}

function readOptions() {
  try {
    const text = { type: 'string' } as const;
    return parseArgs({
      options: { rounds: text, seed: text, first: text, cases: text, help: { type: 'boolean', short: 'h' } },
    }).values;
  } catch (error) {
    return fail((error as Error).message);
  }
}

const given = readOptions();
if (given.help) {
  process.stdout.write(usage);
  process.exit(0);
}
const missing = enginesMissing();
if (missing !== undefined) fail(missing);

function count(name: 'rounds' | 'first' | 'cases', otherwise: number): number {
  const value = Number(given[name] ?? otherwise);
  if (!Number.isInteger(value) || value < 1) fail(`--${name} must be a whole number from 1, got "${given[name]}"`);
  return value;
}

const options = {
  seed: given.seed ?? String(Math.floor(Math.random() * 1e9)),
  rounds: count('rounds', 50),
  first: count('first', 1),
  cases: count('cases', 3),
};
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
process.once('SIGTERM', () => interrupted.abort());
const folder = mkdtempSync(join(tmpdir(), 'dormouse-chaos-gcp-'));
process.stdout.write(`seed ${options.seed}\n`);
const systemFile = join(import.meta.dirname, '../../apps/casework/system.ts');
const images = join(folder, 'images');
await makeImageFolders({ systemFile, out: images });
const engines = await Engines.start();
const report = await runGoogleChaos({
  ...options,
  engines,
  manifest: await describeSystem(systemFile, images),
  images,
  folder,
  tell: (text) => process.stdout.write(`${text}\n`),
  signal: interrupted.signal,
});
await engines[Symbol.asyncDispose]();
process.stdout.write(`\n${tableOf(report)}\n`);
if (report.failures.length > 0) {
  process.stdout.write(`\n${failuresOf(report, options.seed, options.cases)}\nleft in ${folder}\n`);
  process.exitCode = 1;
} else {
  rmSync(folder, { recursive: true, force: true });
  if (interrupted.signal.aborted) process.exitCode = 130;
}
