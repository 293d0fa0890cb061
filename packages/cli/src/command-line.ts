import { parseArgs } from 'node:util';
import { plainErrors } from './usage-error.ts';

export interface Command {
  readonly summary: string;
  readonly usage: string;
  /** The most arguments it takes besides options. */
  readonly maxArguments: number;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Resolves to the exit code. */
  run(positionals: readonly string[], options: Options): Promise<number>;
}

export type Options = Readonly<Record<string, string | boolean | undefined>>;

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly description: string;
  /** Shown in help as the placeholder of a value: `--data DIR`. */
  readonly value?: string;
}

// Loaded one by one: `dormouse version` need not load a broker.
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  start: async () => (await import('./start.ts')).start,
  dev: async () => (await import('./dev.ts')).dev,
  case: async () => (await import('./case.ts')).caseCommand,
  cases: async () => (await import('./cases.ts')).cases,
  'dead-letters': async () => (await import('./dead-letters.ts')).deadLetters,
  trace: async () => (await import('./trace.ts')).trace,
  logs: async () => (await import('./logs.ts')).logs,
  services: async () => (await import('./services.ts')).services,
  topics: async () => (await import('./topics.ts')).topics,
  subscriptions: async () => (await import('./subscriptions.ts')).subscriptions,
  explain: async () => (await import('./explain.ts')).explain,
  broker: async () => (await import('./broker.ts')).broker,
  backup: async () => (await import('./backup.ts')).backup,
  restore: async () => (await import('./restore.ts')).restore,
  doctor: async () => (await import('./doctor.ts')).doctor,
  erase: async () => (await import('./erase.ts')).erase,
  heads: async () => (await import('./heads.ts')).heads,
  verify: async () => (await import('./verify.ts')).verify,
  reset: async () => (await import('./reset.ts')).reset,
  token: async () => (await import('./token.ts')).token,
  validate: async () => (await import('./validate.ts')).validate,
  plan: async () => (await import('./plan.ts')).plan,
  provision: async () => (await import('./provision.ts')).provision,
  version: async () => (await import('./version.ts')).version,
};

export async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(await overview());
    return name === undefined ? 1 : 0;
  }
  const load = Object.hasOwn(commands, name.replace(/^--version$/, 'version'))
    ? commands[name.replace(/^--version$/, 'version')]
    : undefined;
  if (!load) return fail(`unknown command "${name}"; \`dormouse --help\` lists them`);
  const command = await load();
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
    if (positionals.length > command.maxArguments) {
      return fail(
        `${name}: "${positionals[command.maxArguments]}" is one argument too many; \`dormouse ${name} --help\` tells more`,
      );
    }
    return await command.run(positionals, values as Options);
  } catch (error) {
    const { code, name: errorName, message } = error as NodeJS.ErrnoException;
    if (plainErrors.has(errorName) || code?.startsWith('ERR_PARSE_ARGS')) return fail(message);
    throw error;
  }
}

function fail(message: string): number {
  process.stderr.write(`dormouse: ${message}\n`);
  return 1;
}

async function overview(): Promise<string> {
  const rows = await Promise.all(
    Object.entries(commands).map(async ([name, load]) => `  ${name.padEnd(13)} ${(await load()).summary}`),
  );
  return `Usage: dormouse COMMAND [options]\n\n${rows.join('\n')}\n\n\`dormouse COMMAND --help\` tells more.\n`;
}

function help(name: string, { usage, summary, options }: Command): string {
  const rows = Object.entries(options).map(([option, { value, description }]) => {
    return `  ${`--${option}${value ? ` ${value}` : ''}`.padEnd(20)} ${description}`;
  });
  return `Usage: dormouse ${name}${usage ? ` ${usage}` : ''}\n\n${summary}\n${rows.length > 0 ? `\n${rows.join('\n')}\n` : ''}`;
}
