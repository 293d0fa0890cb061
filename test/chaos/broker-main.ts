import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { brokerTableOf, runBrokerChaos } from './broker-chaos.ts';

const usage = `Usage: npm run chaos:broker -- [options]

Publishes to a broker and consumes from it, kills it at random moments, starts it again, and looks whether every publish
that was answered arrives, in order where there is one, and once where that was promised. Exits 1 where something is
broken, and leaves the data directory there.

  --rounds N    how many kills under load (default 20)
  --seed S      when to kill; printed, so that a run can be repeated (default: random)
`;

function fail(message: string): never {
  process.stderr.write(`chaos:broker: ${message}\n\n${usage}`);
  process.exit(1);
}

function readOptions() {
  try {
    const text = { type: 'string' } as const;
    return parseArgs({ options: { rounds: text, seed: text, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    return fail((error as Error).message);
  }
}

const given = readOptions();
if (given.help) {
  process.stdout.write(usage);
  process.exit(0);
}
const rounds = Number(given.rounds ?? 20);
if (!Number.isInteger(rounds) || rounds < 1) fail(`--rounds must be a whole number from 1, got "${given.rounds}"`);
const seed = given.seed ?? String(Math.floor(Math.random() * 1e9));
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
process.once('SIGTERM', () => interrupted.abort());
const folder = mkdtempSync(join(tmpdir(), 'dormouse-chaos-broker-'));
process.stdout.write(`seed ${seed}\n`);
const tell = (text: string) => process.stdout.write(`${text}\n`);
const report = await runBrokerChaos({ seed, rounds, folder, tell, signal: interrupted.signal });
tell(`\n${brokerTableOf(report)}`);
if (report.problems.length > 0) {
  tell(
    `\n${report.problems.slice(0, 20).join('\n')}\nagain: npm run chaos:broker -- --seed ${seed} --rounds ${rounds}\nleft in ${folder}`,
  );
  process.exitCode = 1;
} else rmSync(folder, { recursive: true, force: true });
