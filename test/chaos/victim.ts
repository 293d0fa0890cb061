import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kill, type Member, ProcessFamily } from '../system/process-family.ts';
import { until } from '../system/until.ts';
import { usersEnvironment } from '../system/users-environment.ts';
import type { Subject } from './subject.ts';

const root = join(import.meta.dirname, '../..');
const main = join(root, 'packages/cli/bin/dormouse.mjs');

export interface ServiceStatus {
  readonly name: string;
  readonly state: string;
  readonly instances: number;
}

/** A whole system on one data directory, that is killed and started again and again. */
export class Victim implements Subject {
  readonly data: string;
  readonly family = new ProcessFamily();
  readonly #folder: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #gone: AbortSignal;
  #host: ChildProcess | undefined;
  #output = '';
  /** Of the host that runs now. */
  #address: { readonly port: number; readonly token: string } | undefined;

  /** @param gone when it aborts, whoever waits for the system is told, and nothing is started any more */
  constructor(folder: string, environment: Readonly<Record<string, string>>, gone: AbortSignal) {
    this.#folder = folder;
    this.data = join(folder, 'data');
    this.#environment = environment;
    this.#gone = gone;
  }

  /** Starts the host, and does not wait for it. */
  launch(idle: string): void {
    this.#gone.throwIfAborted();
    this.#address = undefined;
    const args = [main, 'start', '--no-sample', '--idle', idle, '--data', this.data];
    const host = spawn(process.execPath, args, {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...usersEnvironment(this.#folder), ...this.#environment, ...this.family.environment },
    });
    this.#output = '';
    for (const stream of [host.stdout, host.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-10_000);
      });
    }
    this.#host = host;
  }

  /** Until the host that was launched answers. */
  async up(): Promise<void> {
    const host = this.#host!;
    await this.until('a system that is up', async () => {
      if (host.exitCode !== null || host.signalCode !== null) {
        throw new Error(`it did not start, exit ${host.exitCode ?? host.signalCode}: ${this.#output}`);
      }
      const file = hostFile(this.data);
      // One that a killed host left behind is not ours.
      if (file?.pid !== host.pid) return false;
      const healthy = await fetch(`http://127.0.0.1:${file!.port}/healthz`).catch(() => undefined);
      if (!healthy?.ok) return false;
      this.#address = file;
      return true;
    });
  }

  get hostPid(): number {
    return this.#host!.pid!;
  }

  /** The processes of services, of this host and of killed ones before it. */
  services(): Member[] {
    return this.family.members().filter(({ command }) => /\/build\/services\/\S+\.mjs$/.test(command));
  }

  async hostExited(): Promise<void> {
    const host = this.#host!;
    await this.until('the exit of the host', () => host.exitCode !== null || host.signalCode !== null);
  }

  /** What the console answers; waits for a host that answers at all. Refusals are answers. */
  ask(path: string, init: RequestInit = {}): Promise<Response> {
    return this.until(`an answer to ${path}`, () => this.tryToAsk(path, init));
  }

  /** Undefined where nobody answered: the host is down, or died over it. */
  async tryToAsk(path: string, { headers, ...init }: RequestInit = {}): Promise<Response | undefined> {
    if (!this.#address) return undefined;
    const { port, token } = this.#address;
    const own = { ...(headers as Record<string, string>), authorization: `Bearer ${token}` };
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: own });
      // Whole, or not at all.
      const body = await response.arrayBuffer();
      if (response.status === 503) return undefined;
      return new Response(body.byteLength > 0 ? body : null, { status: response.status, headers: response.headers });
    } catch {
      return undefined;
    }
  }

  async get<T>(path: string): Promise<T> {
    const response = await this.ask(path);
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** Waits for a fact, and no longer than the run of which this is a part. */
  until<T>(fact: string, probe: () => T | Promise<T>, boundMs?: number): Promise<NonNullable<Exclude<T, false>>> {
    const look = () => {
      this.#gone.throwIfAborted();
      return probe();
    };
    return until(fact, look, boundMs);
  }

  /** Ctrl-C, and how it ended. */
  async stop(): Promise<number | null> {
    kill(this.hostPid, 'SIGINT');
    await this.hostExited();
    return this.#host!.exitCode;
  }

  destroy(): void {
    this.family.killAll();
  }
}

function hostFile(data: string): { pid: number; port: number; token: string } | undefined {
  try {
    return JSON.parse(readFileSync(join(data, 'host.json'), 'utf8'));
  } catch {
    // Not there yet.
    return undefined;
  }
}
