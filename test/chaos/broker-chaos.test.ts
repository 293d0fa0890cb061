// Real: `dormouse broker` as a process, killed with SIGKILL under load. `npm run chaos:broker` plays more rounds.
import { expect, test } from 'vitest';
import { temporaryFolder } from '../system/temporary-folder.ts';
import { brokerTableOf, runBrokerChaos } from './broker-chaos.ts';

const folder = temporaryFolder();

test('20 rounds of kill -9 of a broker: what was answered arrives, in order, and once where that was promised', async ({
  signal,
}) => {
  const seed = process.env.DORMOUSE_CHAOS_SEED ?? String(Date.now());
  process.stdout.write(`chaos:broker: seed ${seed}\n`);
  const told: string[] = [];
  const report = await runBrokerChaos({ seed, rounds: 20, folder, tell: (text) => told.push(text), signal });
  process.stdout.write(`${brokerTableOf(report)}\n`);
  expect(report.problems.slice(0, 10), `npm run chaos:broker -- --seed ${seed}\n${told.join('\n')}`).toEqual([]);
  expect(report.rounds).toBe(20);
}, 300_000);
