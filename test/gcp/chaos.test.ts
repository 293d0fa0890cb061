// Real: Google's emulators, service processes from their images, killed at random. `npm run chaos:gcp` plays more rounds.
import { join } from 'node:path';
import { describeSystem } from '@dormouse/local';
import { expect, test } from 'vitest';
import { makeImageFolders } from '../../deploy/image-folder.ts';
import { skipWithout } from '../../packages/testing/src/google-emulator.ts';
import { temporaryFolder } from '../system/temporary-folder.ts';
import { failuresOf, runGoogleChaos, tableOf } from './chaos.ts';
import { Engines, enginesMissing } from './engines.ts';

const folder = temporaryFolder();
const systemFile = join(import.meta.dirname, '../../apps/casework/system.ts');
const cases = 2;
const missing = enginesMissing();

if (missing !== undefined) skipWithout('Casework on Google’s engines', missing, test.skip);
else {
  test('10 rounds of instances killed on Google’s engines: every case ends as it does on one machine, no effect happens twice', async ({
    signal,
  }) => {
    const seed = process.env.DORMOUSE_CHAOS_SEED ?? String(Date.now());
    process.stdout.write(`chaos on Google's engines: seed ${seed}\n`);
    const images = join(folder, 'images');
    await makeImageFolders({ systemFile, out: images });
    const manifest = await describeSystem(systemFile, images);
    await using engines = await Engines.start();
    const told: string[] = [];
    const tell = (text: string) => told.push(text);
    const run = { engines, manifest, images, seed, rounds: 10, first: 1, cases, folder, tell, signal };
    const report = await runGoogleChaos(run);
    process.stdout.write(`${tableOf(report)}\n`);
    expect(failuresOf(report, seed, cases), told.join('\n')).toBe('');
    expect(report.rounds).toBe(10);
  }, 400_000);
}
