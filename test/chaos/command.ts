import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';

export interface ChaosCommand<Count extends string> {
  /** The counts as given or by default, and the seed, which is drawn where none is given. */
  readonly options: Readonly<Record<Count, number>> & { readonly seed: string };
  /** Aborts with Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * What a command of chaos was told, by its counts and their defaults: `--rounds N`. Bad options, and `--help`, end the process.
 * @param name as in package.json
 */
export function chaosCommand<Count extends string>(
  name: string,
  usage: string,
  defaults: Readonly<Record<Count, number>>,
): ChaosCommand<Count> {
  const counts = Object.keys(defaults) as Count[];
  const { help, given } = readOptions(name, usage, counts);
  if (help) {
    process.stdout.write(usage);
    process.exit(0);
  }
  const entries = counts.map((count) => {
    const value = Number(given[count] ?? defaults[count]);
    if (!Number.isInteger(value) || value < 1) {
      fail(name, usage, `--${count} must be a whole number from 1, got "${given[count]}"`);
    }
    return [count, value];
  });
  const seed = given.seed ?? String(Math.floor(Math.random() * 1e9));
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  process.once('SIGTERM', () => interrupted.abort());
  return { options: { ...(Object.fromEntries(entries) as Record<Count, number>), seed }, signal: interrupted.signal };
}

export function fail(name: string, usage: string, message: string): never {
  process.stderr.write(`${name}: ${message}\n\n${usage}`);
  process.exit(1);
}

/** Says how it went, and leaves the folder there where something is broken. @param failures undefined where nothing is */
export function conclude(table: string, failures: string | undefined, folder: string, signal: AbortSignal): void {
  process.stdout.write(`\n${table}\n`);
  if (failures !== undefined) {
    process.stdout.write(`\n${failures}\nleft in ${folder}\n`);
    process.exitCode = 1;
  } else {
    rmSync(folder, { recursive: true, force: true });
    if (signal.aborted) process.exitCode = 130;
  }
}

function readOptions(name: string, usage: string, counts: readonly string[]) {
  try {
    const texts = Object.fromEntries([...counts, 'seed'].map((option) => [option, { type: 'string' } as const]));
    const { values } = parseArgs({ options: { ...texts, help: { type: 'boolean', short: 'h' } } });
    const { help, ...given } = values;
    return { help, given: given as Readonly<Record<string, string | undefined>> };
  } catch (error) {
    return fail(name, usage, (error as Error).message);
  }
}
