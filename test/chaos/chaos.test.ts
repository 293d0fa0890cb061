// Real: whole systems as processes, killed with SIGKILL in the middle of their work. `npm run chaos` plays more rounds.
import { expect, test } from 'vitest';
import { temporaryFolder } from '../system/temporary-folder.ts';
import { runChaos } from './chaos.ts';
import { failuresOf, tableOf } from './report.ts';

const folder = temporaryFolder();
const cases = 3;

test('20 rounds of kill -9: every case reaches its end, nothing is lost, no effect happens twice', async ({
  signal,
}) => {
  const seed = process.env.DORMOUSE_CHAOS_SEED ?? String(Date.now());
  process.stdout.write(`chaos: seed ${seed}\n`);
  const told: string[] = [];
  const tell = (text: string) => told.push(text);
  const report = await runChaos({ seed, rounds: 20, first: 1, cases, folder, tell, signal });
  process.stdout.write(`${tableOf(report)}\n`);
  expect(failuresOf(report, seed, cases), told.join('\n')).toBe('');
  expect(report.rounds).toBe(20);
}, 300_000);
