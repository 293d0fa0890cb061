import { constants, setPriority } from 'node:os';
import { resolve } from 'node:path';
import { backUp } from '@dormouse/local';
import manifest from '../package.json' with { type: 'json' };
import type { Command } from './command-line.ts';
import { size } from './paint.ts';
import { dataFolder, dataOption, jsonOption, userFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const backup: Command = {
  summary: 'Copies a data directory into one file, also while its system runs.',
  usage: 'FILE [options]',
  maxArguments: 1,
  options: { data: dataOption, json: jsonOption },
  async run([name], options) {
    if (!name) throw new UsageError('backup needs a FILE to write, one that does not exist yet: backup.tar');
    const file = resolve(userFolder(), name);
    // A host on the same machine goes first.
    setPriority(constants.priority.PRIORITY_LOW);
    const contents = await backUp(dataFolder(options), file, manifest.version, Date.now());
    const { workflows, database, files, missing, secrets } = contents;
    if (options.json) process.stdout.write(`${JSON.stringify({ file, ...contents })}\n`);
    else {
      process.stdout.write(
        [
          `${file}: ${workflows} workflows, ${files.count} files (${size(files.bytes)}), database ${size(database.bytes)}`,
          `with ${secrets.length > 0 ? secrets.join(', ') : 'no secrets'}; personal data in clear: keep it where only you can read it`,
          '',
        ].join('\n'),
      );
    }
    for (const key of missing.slice(0, 10)) process.stderr.write(`dormouse: files/${key} was gone before the backup\n`);
    if (missing.length > 10) process.stderr.write(`dormouse: and ${missing.length - 10} more files\n`);
    return 0;
  },
};
