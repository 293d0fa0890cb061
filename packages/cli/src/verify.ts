import { existsSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { refOf, workflows } from '@dormouse/core';
import {
  type Chain,
  type ExportedHeads,
  HeadsError,
  headsKeyFile,
  headsKeyOf,
  publicKeyText,
  readHeads,
  verifiedChains,
} from '@dormouse/local';
import type { Command, Options } from './command-line.ts';
import { paint } from './paint.ts';
import { dataFolder, dataOption, jsonOption, userFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

const toldEveryMs = 200;

export const verify: Command = {
  summary:
    'Whether the log holds: every entry chained to the one before it, and all of them giving the documents as they are.',
  usage: '[WF-…] [options]',
  maxArguments: 1,
  options: {
    against: {
      type: 'string',
      value: 'FILE',
      description: 'heads that were exported: whether all that was written then still is',
    },
    key: {
      type: 'string',
      value: 'PUBKEY',
      description: 'who must have signed FILE (default: the key of the data directory)',
    },
    data: dataOption,
    json: jsonOption,
  },
  async run([workflowId], options) {
    // A host on the same machine goes first.
    setPriority(constants.priority.PRIORITY_LOW);
    const path = join(dataFolder(options), 'dormouse.db');
    if (!existsSync(path)) throw new UsageError(`${path} is not there; name a data directory with --data DIR`);
    const exported = exportedOf(options);
    const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
    try {
      // One moment for all chains, whatever a host writes meanwhile.
      database.exec('BEGIN');
      const workflow = workflowId === undefined ? undefined : refOf(workflows, workflowId);
      const { chains, entries, broken } = goThrough(database, workflow, exported);
      if (workflow !== undefined && chains === 0)
        throw new UsageError(`there is no workflow "${workflowId}" in ${path}`);
      const against = exported && { against: { at: exported.at, key: exported.key, chains: exported.heads.size } };
      if (options.json)
        process.stdout.write(
          `${JSON.stringify({ holds: broken.length === 0, chains, entries, broken, ...against })}\n`,
        );
      else process.stdout.write(report(chains, entries, broken, exported));
      return broken.length === 0 ? 0 : 1;
    } finally {
      database.close();
    }
  },
};

/** @throws UsageError, HeadsError */
function exportedOf(options: Options): ExportedHeads | undefined {
  if (options.against === undefined) {
    if (options.key !== undefined)
      throw new UsageError('--key says who signed what --against names; give that as well');
    return undefined;
  }
  const folder = dataFolder(options);
  if (options.key === undefined && !existsSync(join(folder, headsKeyFile))) {
    throw new HeadsError(
      `${folder} has no ${headsKeyFile}: nothing was exported here; name who signed with --key PUBKEY`,
    );
  }
  const key = options.key === undefined ? publicKeyText(headsKeyOf(folder)) : String(options.key);
  return readHeads(resolve(userFolder(), String(options.against)), key);
}

function goThrough(database: DatabaseSync, workflow: string | undefined, exported: ExportedHeads | undefined) {
  const all = database.prepare('SELECT count(*) AS count FROM head').get()!.count as number;
  const tells = process.stderr.isTTY && workflow === undefined;
  const broken: Chain[] = [];
  let [chains, entries, toldAt] = [0, 0, performance.now()];
  for (const chain of verifiedChains(database, workflow, exported)) {
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

function report(
  chains: number,
  entries: number,
  broken: readonly Chain[],
  exported: ExportedHeads | undefined,
): string {
  if (broken.length === 0) {
    const since = exported ? `; all of ${exported.at} is still there` : '';
    return `${paint('green', 'holds')}  ${entries} entries in ${chains} chains, each as it was written; together they give the documents as they are${since}\n`;
  }
  const lines = broken.map(({ chain, problem }) => `${paint('red', 'broken')}  ${chain}: ${problem}`);
  const remedy = 'restore a backup into another directory and compare: dormouse restore FILE --data NEW';
  return `${lines.join('\n')}\n${broken.length} of ${chains} chains do not hold; ${remedy}\n`;
}
