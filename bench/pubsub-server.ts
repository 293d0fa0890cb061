import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { leash } from './leash.ts';
import { PubsubRest } from './pubsub-rest.ts';

const root = join(import.meta.dirname, '..');
const startTimeoutMs = 60_000;
const sdkFolders = [process.env.CLOUDSDK_ROOT_DIR, '/usr/lib/google-cloud-sdk', '/opt/google-cloud-sdk'];

/** A server that speaks Pub/Sub v1, as a process of its own. */
export class PubsubServer {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  /** From the command to its first answer. */
  readonly startMs: number;
  readonly folder: string;
  readonly #child: ChildProcess;

  private constructor(name: string, port: number, child: ChildProcess, folder: string, startMs: number) {
    this.name = name;
    this.port = port;
    this.#child = child;
    this.pid = child.pid!;
    this.folder = folder;
    this.startMs = startMs;
  }

  /** Ours, on disk. */
  static async broker(folder = mkdtempSync(join(tmpdir(), 'dormouse-bench-'))): Promise<PubsubServer> {
    const port = await freePort();
    const environment = { INIT_CWD: root, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` };
    const command = [
      join(root, 'node_modules/.bin/dormouse'),
      'broker',
      '--port',
      `${port}`,
      '--data',
      join(folder, 'data'),
    ];
    return PubsubServer.#start('dormouse', command, environment, port, folder);
  }

  /** Google's, which keeps everything in memory. Undefined where the Cloud SDK is not installed. */
  static async emulator(): Promise<PubsubServer | undefined> {
    const binary = sdkFolders
      .map((folder) => join(folder ?? '', 'platform/pubsub-emulator/bin/cloud-pubsub-emulator'))
      .find((path) => existsSync(path));
    if (!binary) return undefined;
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'emulator-bench-'));
    return PubsubServer.#start('emulator', [binary, '--host=127.0.0.1', `--port=${port}`], {}, port, folder);
  }

  /** The least that Node can do on this wire, in memory or with a sync before each answer to a publish. */
  static async floor({ synced = false } = {}): Promise<PubsubServer> {
    const port = await freePort();
    const program = join(import.meta.dirname, 'floor-server.ts');
    const folder = mkdtempSync(join(tmpdir(), 'floor-bench-'));
    const file = synced ? [join(folder, 'log')] : [];
    const command = [process.execPath, program, `${port}`, ...file];
    return PubsubServer.#start(synced ? 'floor, synced' : 'floor', command, {}, port, folder);
  }

  static async #start(
    name: string,
    [program, ...rest]: string[],
    environment: Readonly<Record<string, string>>,
    port: number,
    folder: string,
  ): Promise<PubsubServer> {
    const startedAt = performance.now();
    const child = spawn(program!, rest, {
      cwd: root,
      // The emulator writes some lines for each request; a pipe that is not read would stop it.
      stdio: 'ignore',
      env: { ...process.env, ...environment, NO_COLOR: '1' },
      detached: true,
    });
    leash(child);
    const rest1 = new PubsubRest(port, 1);
    for (;;) {
      try {
        await rest1.call('GET', 'projects/p/topics');
        break;
      } catch (error) {
        if (performance.now() - startedAt > startTimeoutMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
    const startMs = performance.now() - startedAt;
    rest1.close();
    return new PubsubServer(name, port, child, folder, startMs);
  }

  /** Ends it and leaves what it kept. */
  async halt(): Promise<void> {
    const exited = once(this.#child, 'exit');
    // The emulator is a shell script that starts Java: the whole group.
    process.kill(-this.pid, 'SIGTERM');
    await exited;
  }

  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
