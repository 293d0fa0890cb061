import { parseArgs } from 'node:util';
import { start } from './start.ts';
import { version } from './version.ts';

export interface Command {
  readonly summary: string;
  readonly usage: string;
  readonly options: Record<string, OptionSpec>;
  /** Resolves to the exit code. */
  run(positionals: string[], options: Record<string, string | boolean | undefined>): Promise<number>;
}

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly description: string;
  /** Shown in help as the placeholder of a value: `--data DIR`. */
  readonly value?: string;
}

/** A mistake in what the user typed: printed as one line, exit code 1. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const commands: Record<string, Command> = { start, version };

export async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(overview());
    return name === undefined ? 1 : 0;
  }
  if (name === '--version') return version.run([], {});
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) return fail(`unknown command "${name}"; \`dormouse --help\` lists them`);
  try {
    const { values, positionals } = parseArgs({
      args: rest,
      allowPositionals: true,
      options: {
        ...Object.fromEntries(Object.entries(command.options).map(([key, { type }]) => [key, { type }])),
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) {
      process.stdout.write(help(name, command));
      return 0;
    }
    return await command.run(positionals, values as Record<string, string | boolean | undefined>);
  } catch (error) {
    const { code, name: errorName, message } = error as NodeJS.ErrnoException;
    if (errorName === 'UsageError' || code?.startsWith('ERR_PARSE_ARGS')) return fail(message);
    throw error;
  }
}

function fail(message: string): number {
  process.stderr.write(`dormouse: ${message}\n`);
  return 1;
}

function overview(): string {
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`);
  return `Usage: dormouse COMMAND [options]\n\n${lines.join('\n')}\n\n\`dormouse COMMAND --help\` tells more.\n`;
}

function help(name: string, command: Command): string {
  const rows = Object.entries(command.options).map(([option, { value, description }]) => {
    return `  ${`--${option}${value ? ` ${value}` : ''}`.padEnd(18)} ${description}`;
  });
  return `Usage: dormouse ${name}${command.usage ? ` ${command.usage}` : ''}\n\n${command.summary}\n\n${rows.join('\n')}\n`;
}
