import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brokerTableOf, runBrokerChaos } from './broker-chaos.ts';
import { chaosCommand } from './command.ts';

const usage = `Usage: npm run chaos:broker -- [options]

Publishes to a broker and consumes from it, kills it at random moments, starts it again, and looks whether every publish
that was answered arrives, in order where there is one, and once where that was promised. Exits 1 where something is
broken, and leaves the data directory there.

  --rounds N    how many kills under load (default 20)
  --seed S      when to kill; printed, so that a run can be repeated (default: random)
`;

const { options, signal } = chaosCommand('chaos:broker', usage, { rounds: 20 });
const folder = mkdtempSync(join(tmpdir(), 'dormouse-chaos-broker-'));
process.stdout.write(`seed ${options.seed}\n`);
const tell = (text: string) => process.stdout.write(`${text}\n`);
const report = await runBrokerChaos({ ...options, folder, tell, signal });
tell(`\n${brokerTableOf(report)}`);
if (report.problems.length > 0) {
  tell(
    `\n${report.problems.slice(0, 20).join('\n')}\nagain: npm run chaos:broker -- --seed ${options.seed} --rounds ${options.rounds}\nleft in ${folder}`,
  );
  process.exitCode = 1;
} else rmSync(folder, { recursive: true, force: true });
