import { existsSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { refOf, workflows } from '@dormouse/core';
import { type Chain, verifiedChains } from '@dormouse/local';
import type { Command } from './command-line.ts';
import { paint } from './paint.ts';
import { dataFolder, dataOption, jsonOption } from './settings.ts';
import { UsageError } from './usage-error.ts';

const toldEveryMs = 200;

export const verify: Command = {
  summary:
    'Whether the log holds: every entry chained to the one before it, and all of them giving the documents as they are.',
  usage: '[WF-…] [options]',
  maxArguments: 1,
  options: { data: dataOption, json: jsonOption },
  async run([workflowId], options) {
    // A host on the same machine goes first.
    setPriority(constants.priority.PRIORITY_LOW);
    const path = join(dataFolder(options), 'dormouse.db');
    if (!existsSync(path)) throw new UsageError(`${path} is not there; name a data directory with --data DIR`);
    const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
    try {
      // One moment for all chains, whatever a host writes meanwhile.
      database.exec('BEGIN');
      const workflow = workflowId === undefined ? undefined : refOf(workflows, workflowId);
      const { chains, entries, broken } = goThrough(database, workflow);
      if (workflow !== undefined && chains === 0)
        throw new UsageError(`there is no workflow "${workflowId}" in ${path}`);
      if (options.json)
        process.stdout.write(`${JSON.stringify({ holds: broken.length === 0, chains, entries, broken })}\n`);
      else process.stdout.write(report(chains, entries, broken));
      return broken.length === 0 ? 0 : 1;
    } finally {
      database.close();
    }
  },
};

function goThrough(database: DatabaseSync, workflow: string | undefined) {
  const all = database.prepare('SELECT count(*) AS count FROM head').get()!.count as number;
  const tells = process.stderr.isTTY && workflow === undefined;
  const broken: Chain[] = [];
  let [chains, entries, toldAt] = [0, 0, performance.now()];
  for (const chain of verifiedChains(database, workflow)) {
    chains++;
    entries += chain.entries;
    if (chain.problem !== undefined) broken.push(chain);
    if (tells && performance.now() - toldAt > toldEveryMs) {
      toldAt = performance.now();
      process.stderr.write(`\r${chains} of ${all} chains`);
    }
  }
  if (tells) process.stderr.write('\r\x1b[K');
  return { chains, entries, broken };
}

function report(chains: number, entries: number, broken: readonly Chain[]): string {
  if (broken.length === 0) {
    return `${paint('green', 'holds')}  ${entries} entries in ${chains} chains, each as it was written; together they give the documents as they are\n`;
  }
  const lines = broken.map(({ chain, problem }) => `${paint('red', 'broken')}  ${chain}: ${problem}`);
  const remedy = 'restore a backup into another directory and compare: dormouse restore FILE --data NEW';
  return `${lines.join('\n')}\n${broken.length} of ${chains} chains do not hold; ${remedy}\n`;
}
