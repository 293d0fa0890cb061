import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { exportHeads, headsKeyOf, publicKeyText } from '@dormouse/local';
import type { Command } from './command-line.ts';
import { dataFolder, dataOption, jsonOption, userFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const heads: Command = {
  summary: 'The end of every chain of the log, signed, to be kept elsewhere: export FILE; or the key that signs.',
  usage: 'export FILE | key [options]',
  maxArguments: 2,
  options: { data: dataOption, json: jsonOption },
  async run([action, name], options) {
    if (action !== 'export' && action !== 'key') {
      throw new UsageError(
        `heads: ${action === undefined ? 'there is no action' : `"${action}" is no action`}; use export FILE, or key`,
      );
    }
    const folder = dataFolder(options);
    const path = join(folder, 'dormouse.db');
    if (!existsSync(path)) throw new UsageError(`${path} is not there; name a data directory with --data DIR`);
    const signer = headsKeyOf(folder);
    if (action === 'key') {
      const key = publicKeyText(signer);
      process.stdout.write(options.json ? `${JSON.stringify({ key })}\n` : `${key}\n`);
      return 0;
    }
    if (!name) throw new UsageError('heads export needs a FILE to write, one that does not exist yet: heads.jsonl');
    const file = resolve(userFolder(), name);
    const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
    try {
      const exported = exportHeads(database, file, signer, Date.now());
      if (options.json) process.stdout.write(`${JSON.stringify({ file, ...exported })}\n`);
      else process.stdout.write(`${file}: the heads of ${exported.chains} chains, signed by ${exported.key}\n`);
    } finally {
      database.close();
    }
    return 0;
  },
};
