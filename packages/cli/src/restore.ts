import { resolve } from 'node:path';
import { restoreBackup } from '@dormouse/local';
import type { Command } from './command-line.ts';
import { dataFolder, dataOption, jsonOption, userFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const restore: Command = {
  summary: 'Makes a data directory of a backup, in a folder that is empty or new, and verifies all of it.',
  usage: 'FILE [options]',
  maxArguments: 1,
  options: { data: dataOption, json: jsonOption },
  async run([name], options) {
    if (!name) throw new UsageError('restore needs the FILE of a backup, made by `dormouse backup FILE`');
    const folder = dataFolder(options);
    const contents = await restoreBackup(resolve(userFolder(), name), folder);
    const { workflows, files, takenAt, missing } = contents;
    if (options.json) process.stdout.write(`${JSON.stringify({ data: folder, ...contents })}\n`);
    else {
      process.stdout.write(
        `${folder}: ${workflows} workflows and ${files.count} files as they were at ${takenAt}, verified\n`,
      );
    }
    for (const key of missing.slice(0, 10)) process.stderr.write(`dormouse: files/${key} was gone before the backup\n`);
    return 0;
  },
};
