import { DataDirectory } from '@dormouse/local';
import type { Command } from './command-line.ts';
import { dataFolder, dataOption } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const reset: Command = {
  summary: 'Empties a data directory: every workflow, message, file and secret in it is gone.',
  usage: '--yes [options]',
  maxArguments: 0,
  options: { yes: { type: 'boolean', description: 'yes, all of it' }, data: dataOption },
  async run(_positionals, options) {
    const folder = dataFolder(options);
    if (!options.yes) {
      throw new UsageError(
        `reset removes everything in ${folder}; say so with --yes. \`dormouse backup FILE\` keeps a copy`,
      );
    }
    const left = DataDirectory.empty(folder);
    process.stdout.write(
      `${folder} is empty${left.length > 0 ? `, but for what is not Dormouse's: ${left.join(', ')}` : ''}\n`,
    );
    return 0;
  },
};
