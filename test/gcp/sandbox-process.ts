import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** The outside world, in a process of its own. */
export class SandboxProcess implements AsyncDisposable {
  readonly url: string;
  /** What services need to reach it. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, { url, environment }: Pick<SandboxProcess, 'url' | 'environment'>) {
    this.#process = process;
    this.url = url;
    this.environment = environment;
  }

  /** @param module of the system; @param webhookUrl where it sends what the outside has to say */
  static async start(module: string, directory: string, webhookUrl: string, secret: string): Promise<SandboxProcess> {
    mkdirSync(directory, { recursive: true });
    const main = join(import.meta.dirname, 'sandbox-main.ts');
    const child = spawn(process.execPath, [main, module, directory, webhookUrl, secret], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout! });
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`the sandbox ended at once, with exit code ${code}`);
    });
    ended.catch(() => {});
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
    return new SandboxProcess(child, JSON.parse(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.stdin!.end();
    await exited;
  }
}
