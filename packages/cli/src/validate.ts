import { readInput } from './case-input.ts';
import type { Command } from './command-line.ts';
import { jsonOption } from './settings.ts';
import { UsageError } from './usage-error.ts';

export const validate: Command = {
  summary: 'Checks a case request or statement and lists every problem by its path.',
  usage: 'FILE [options]',
  maxArguments: 1,
  options: {
    json: jsonOption,
    currency: { type: 'string', value: 'CODE', description: 'of a CSV statement (default EUR)' },
  },
  async run([file], options) {
    if (!file) throw new UsageError('validate needs a FILE: a case request or a statement, JSON or CSV');
    const input = await readInput(file, options.currency as string | undefined);
    if (options.json) {
      process.stdout.write(
        `${JSON.stringify('problems' in input ? { valid: false, problems: input.problems } : { valid: true, kind: input.kind, problems: [] })}\n`,
      );
    } else if ('problems' in input) {
      for (const { path, message } of input.problems)
        process.stdout.write(`${path === '' ? '' : `${path}: `}${message}\n`);
      process.stderr.write(`${file}: ${input.problems.length} problem${input.problems.length === 1 ? '' : 's'}\n`);
    } else process.stdout.write(`${file}: a valid ${input.kind}\n`);
    return 'problems' in input ? 1 : 0;
  },
};
