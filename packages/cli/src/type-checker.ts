import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setPriority } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { paint } from './paint.ts';
import { userFolder } from './settings.ts';

const shown = 20;

/**
 * Checks the types of a project with its own TypeScript, in a process beside that gives way to all others. One run a change,
 * from what the last one wrote down, rather than `--watch`: 0.6 s of CPU where the whole of this repository takes 3.3, no
 * memory while nothing changes, and a second watcher less.
 */
export class TypeChecker {
  readonly #tsc: string;
  readonly #config: string;
  readonly #memory: string;
  readonly #say: (text: string) => void;
  #child: ChildProcess | undefined;
  #last = '';

  private constructor(tsc: string, config: string, memory: string, say: (text: string) => void) {
    this.#tsc = tsc;
    this.#config = config;
    this.#memory = memory;
    this.#say = say;
  }

  /** Undefined where the project has no TypeScript or no `tsconfig.json`. */
  static of(systemFile: string, folder: string, say: (text: string) => void): TypeChecker | undefined {
    for (let at = dirname(systemFile); ; at = dirname(at)) {
      const config = join(at, 'tsconfig.json');
      if (existsSync(config)) {
        const tsc = tscOf(systemFile);
        return tsc === undefined ? undefined : new TypeChecker(tsc, config, join(folder, 'types.json'), say);
      }
      if (dirname(at) === at) return undefined;
    }
  }

  /** Tells what is wrong where that is news. A check that runs is given up: it would tell of yesterday. */
  check(): void {
    this.stop();
    mkdirSync(dirname(this.#memory), { recursive: true });
    const remembering = ['--incremental', '--tsBuildInfoFile', this.#memory];
    const child = spawn(
      process.execPath,
      [this.#tsc, '-p', this.#config, '--noEmit', '--pretty', 'false', ...remembering],
      {
        cwd: dirname(this.#config),
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    this.#child = child;
    child.on('error', () => {});
    if (child.pid !== undefined) lower(child.pid);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
    child.on('close', () => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#tell(output);
    });
  }

  stop(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  #tell(output: string): void {
    if (output === this.#last) return;
    this.#last = output;
    const lines = output.split('\n').filter(Boolean);
    if (lines.length === 0) {
      this.#say(paint('green', 'types are right'));
      return;
    }
    const errors = lines.map((line) => paint('yellow', `types: ${this.#place(line)}`));
    const more = lines.length > shown ? [`types: … and ${lines.length - shown} lines more`] : [];
    this.#say([...errors.slice(0, shown), ...more].join('\n'));
  }

  /** `services/stock.ts(5,3): error …` as `services/stock.ts:5:3 error …`, from the folder the user types in. */
  #place(line: string): string {
    return line.replace(/^(\S[^(]*)\((\d+),(\d+)\):/, (_all, file, row, column) => {
      return `${relative(userFolder(), resolve(dirname(this.#config), file))}:${row}:${column}`;
    });
  }
}

function tscOf(systemFile: string): string | undefined {
  try {
    return join(dirname(createRequire(systemFile).resolve('typescript/package.json')), 'bin', 'tsc');
  } catch {
    return undefined;
  }
}

function lower(pid: number): void {
  try {
    setPriority(pid, 10);
  } catch {
    // It is over already.
  }
}
