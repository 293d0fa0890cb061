import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeSystem } from '@dormouse/local';
import { makeImageFolders } from '../../deploy/image-folder.ts';
import { chaosCommand, conclude, fail } from '../chaos/command.ts';
import { failuresOf, runGoogleChaos, tableOf } from './chaos.ts';
import { Engines, enginesMissing } from './engines.ts';

const usage = `Usage: npm run chaos:gcp -- [options]

Opens cases on Google's emulators, half of the rounds with our own broker in place of theirs; kills the services' instances at
random moments, and looks whether every case ends as it does on one machine, with each effect once. In half of the rounds no
periodic sweep comes before the end: what only that finds is told. Exits 1 where something is broken. Needs the Cloud SDK with its emulators, and java.

  --rounds N    how many rounds (default 50)
  --seed S      what to kill when, and which cases; printed, so that a run can be repeated (default: random)
  --first N     number of the first round: a round depends on the seed and its number only (default 1)
  --cases N     cases opened in each round (default 3)
`;

const name = 'chaos:gcp';
const { options, signal } = chaosCommand(name, usage, { rounds: 50, first: 1, cases: 3 });
const missing = enginesMissing();
if (missing !== undefined) fail(name, usage, missing);
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
  signal,
});
await engines[Symbol.asyncDispose]();
const failures = report.failures.length > 0 ? failuresOf(report, options.seed, options.cases) : undefined;
conclude(tableOf(report), failures, folder, signal);
