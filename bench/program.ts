import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { leash } from './leash.ts';

const startTimeoutMs = 60_000;

/** A server as a process group of its own, that listens on a port. */
export class Program {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, 'exit');
  }

  /** Resolves when something listens there. @throws Error where it ends before */
  static async start(
    command: string,
    args: readonly string[],
    port: number,
    options: { readonly env?: NodeJS.ProcessEnv; readonly uid?: number; readonly cwd: string },
  ): Promise<Program> {
    const child = spawn(command, args, { stdio: 'ignore', detached: true, ...options });
    leash(child);
    const program = new Program(child);
    const startedAt = performance.now();
    while (!(await listens(port))) {
      if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode} before it listened`);
      if (performance.now() - startedAt > startTimeoutMs) {
        await program.stop();
        throw new Error(`${command} does not listen on port ${port} after ${startTimeoutMs / 1000} s`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return program;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) process.kill(-this.#child.pid!, 'SIGTERM');
    await this.#exited;
  }
}

/** Where a command is, in the PATH or in a folder besides. */
export function findCommand(name: string, ...folders: readonly string[]): string | undefined {
  const among = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', ...folders].map((each) => join(each, name));
  return among.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
