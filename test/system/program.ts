import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { kill, ProcessFamily } from './process-family.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';
import { usersEnvironment } from './users-environment.ts';

export const root = join(import.meta.dirname, '../..');
export const samples = join(root, 'apps/casework/samples');

const cli = join(root, 'packages/cli');
const { bin } = JSON.parse(readFileSync(join(cli, 'package.json'), 'utf8')) as { bin: { dormouse: string } };
const main = join(cli, bin.dormouse);

// Theirs as well: what is killed leaves its sockets there.
const temporary = temporaryFolder();

export interface ProgramOptions {
  /** The folder the user types in. Default: the project's. */
  readonly folder?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** A small disk of its own, at this folder: nobody else sees it but through `/proc/PID/root`, and it goes with the process. */
  readonly disk?: { readonly folder: string; readonly size: string };
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command as a user types it, in a session of its own like a terminal's, so that a Ctrl-C can reach all of its group. */
export class Program {
  stdout = '';
  stderr = '';
  readonly family = new ProcessFamily();
  readonly exited: Promise<Finished>;
  readonly #child: ChildProcess;

  private constructor(
    file: string,
    args: readonly string[],
    { folder = root, environment = {}, disk }: ProgramOptions,
  ) {
    const [program, ...rest] = disk ? [...onDisk(disk), file, ...args] : [file, ...args];
    this.#child = spawn(program!, rest, {
      cwd: folder,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...usersEnvironment(temporary), ...environment, ...this.family.environment },
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      this.stdout += chunk;
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      this.stderr += chunk;
    });
    this.exited = new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      this.#child.on('close', (code, signal) => {
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** `dormouse …`, on the project's own Node. */
  static dormouse(args: readonly string[], options: ProgramOptions = {}): Program {
    return new Program(process.execPath, [main, ...args], options);
  }

  /** `npm …`, on whatever Node the machine has for it. */
  static npm(args: readonly string[], options: ProgramOptions = {}): Program {
    return new Program('npm', args, options);
  }

  /** `dormouse …` on a terminal: both outputs in `stdout`, with the terminal's control characters. */
  static onTerminal(args: readonly string[], options: ProgramOptions = {}): Program {
    const line = [process.execPath, main, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    const sized = `stty columns 120 && exec ${line}`;
    const environment = { TERM: 'xterm-256color', ...options.environment };
    return new Program('script', ['--quiet', '--return', '--command', sized, '/dev/null'], { ...options, environment });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Ctrl-C: SIGINT to the whole process group. */
  interrupt(): void {
    kill(-this.pid, 'SIGINT');
  }

  kill(): void {
    kill(-this.pid, 'SIGKILL');
  }

  /** How it ended by itself. What does not end is killed with all it started, and is an error. */
  async finished(boundMs = 120_000): Promise<Finished> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), boundMs);
    const bound = new Promise<never>((_resolve, reject) => {
      late.signal.addEventListener('abort', () => {
        this.family.killAll();
        reject(new Error(`still running after ${boundMs / 1000} s; it said:\n${this.stdout}\n${this.stderr}`));
      });
    });
    return Promise.race([this.exited, bound]).finally(() => clearTimeout(timer));
  }

  /** Waits until stdout shows it, colours aside. */
  shows(pattern: RegExp, boundMs?: number): Promise<RegExpExecArray> {
    const fact = `${pattern} in the output`;
    const look = () => pattern.exec(stripVTControlCharacters(this.stdout));
    return until(fact, look, boundMs).catch((error: Error) => {
      throw new Error(`${error.message}; it said:\n${this.stdout}\n${this.stderr}`);
    });
  }
}

export function dormouse(args: readonly string[], options?: ProgramOptions): Promise<Finished> {
  return Program.dormouse(args, options).finished();
}

export function npm(args: readonly string[], options?: ProgramOptions): Promise<Finished> {
  return Program.npm(args, options).finished();
}

function onDisk({ folder, size }: NonNullable<ProgramOptions['disk']>): string[] {
  const mounted = 'mount -t tmpfs -o size="$1",mode=700 none "$2" && shift 2 && exec "$@"';
  return ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mounted, 'sh', size, folder];
}

/** Why no program can have a disk of its own here; undefined where it can. */
export function noDiskBecause(): string | undefined {
  const [program, ...rest] = [...onDisk({ folder: temporary, size: '1m' }), 'true'];
  const { status, stderr, error } = spawnSync(program!, rest, { encoding: 'utf8' });
  return status === 0
    ? undefined
    : `this machine gives no process a mount of its own: ${error?.message ?? stderr.trim()}`;
}
