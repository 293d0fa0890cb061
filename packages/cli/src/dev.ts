import type { Command } from './command-line.ts';
import { Development } from './development.ts';
import { untilInterrupted } from './interrupt.ts';
import { start } from './start.ts';

export const dev: Command = {
  summary: 'As start, for whoever changes the sources: a saved file is served by the next message.',
  usage: start.usage,
  maxArguments: start.maxArguments,
  options: {
    ...start.options,
    'no-types': { type: 'boolean', description: 'do not check types' },
  },
  async run([file], options) {
    const interrupted = untilInterrupted();
    const development = new Development({
      file,
      options,
      say: (text) => process.stdout.write(`${text}\n`),
    });
    try {
      await development.start();
      await interrupted;
    } finally {
      await development.stop();
    }
    return 0;
  },
};
