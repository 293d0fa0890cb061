import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { until } from '../system/until.ts';
import { usersEnvironment } from '../system/users-environment.ts';

const root = join(import.meta.dirname, '../..');
const main = join(root, 'packages/cli/bin/dormouse.mjs');

/** `dormouse broker` on one data directory, on a free port, until it is killed. */
export class BrokerVictim {
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  #output = '';

  constructor(folder: string) {
    const args = [main, 'broker', '--port', '0', '--data', join(folder, 'data')];
    this.#process = spawn(process.execPath, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: usersEnvironment(folder),
    });
    this.#exited = new Promise((resolve) => this.#process.once('close', () => resolve()));
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-10_000);
      });
    }
  }

  /** Once it answers. */
  address(): Promise<string> {
    return until('a broker that is up', () => {
      const { exitCode } = this.#process;
      if (exitCode !== null) throw new Error(`the broker did not start, exit ${exitCode}: ${this.#output}`);
      return /^PUBSUB_EMULATOR_HOST=(\S+)$/m.exec(this.#output)?.[1];
    });
  }

  get pid(): number {
    return this.#process.pid!;
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }
}
