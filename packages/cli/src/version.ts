import manifest from '../package.json' with { type: 'json' };
import type { Command } from './command-line.ts';

export const version: Command = {
  summary: 'Prints the version.',
  usage: '',
  maxArguments: 0,
  options: {},
  async run() {
    process.stdout.write(`dormouse ${manifest.version} (node ${process.versions.node})\n`);
    return 0;
  },
};
