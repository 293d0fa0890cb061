import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { leash } from './leash.ts';

const root = join(import.meta.dirname, '..');
const startTimeoutMs = 60_000;

export interface LogEntry {
  /** When it was committed, epoch ms. */
  readonly at: number;
  readonly kind: 'log' | 'journal';
  readonly entry: {
    readonly cause: { readonly kind: string; readonly id: string };
    /** Epoch ms, read right before the handler is called. */
    readonly startedAt: number;
  };
}

interface ServiceStatus {
  readonly name: string;
  readonly state: string;
  readonly wakes: number;
}

/** A system started as users start it, in a data directory of its own below the temporary folder. */
export class RunningHost {
  readonly pid: number;
  readonly dataFolder: string;
  /** From the command to its word that it is up. */
  readonly startMs: number;
  readonly #child: ChildProcess;
  readonly #url: string;
  readonly #brokerUrl: string;
  readonly #token: string;

  private constructor(child: ChildProcess, dataFolder: string, brokerUrl: string, startMs: number) {
    this.startMs = startMs;
    const { pid, port, token } = JSON.parse(readFileSync(join(dataFolder, 'host.json'), 'utf8'));
    this.pid = pid;
    this.dataFolder = dataFolder;
    this.#child = child;
    this.#url = `http://127.0.0.1:${port}`;
    this.#brokerUrl = brokerUrl;
    this.#token = token;
  }

  /** Resolves when it is up: where it opens its sample case, when that is closed. */
  static start(...options: string[]): Promise<RunningHost> {
    return RunningHost.startOn(join(mkdtempSync(join(tmpdir(), 'dormouse-bench-')), 'data'), ...options);
  }

  /** The same on a data directory that a halted one left. */
  static startOn(dataFolder: string, ...options: string[]): Promise<RunningHost> {
    return RunningHost.launch(dataFolder, 'start', ...options);
  }

  /** `dormouse start` or `dev`. */
  static async launch(dataFolder: string, command: 'start' | 'dev', ...options: string[]): Promise<RunningHost> {
    const startedAt = performance.now();
    const child = spawn(join(root, 'node_modules/.bin/dormouse'), [command, '--data', dataFolder, ...options], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      // The program's first line asks for `node`: the one that runs this bench.
      env: {
        ...process.env,
        INIT_CWD: root,
        PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`,
        NO_COLOR: '1',
      },
      detached: true,
    });
    leash(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const deadline = performance.now() + startTimeoutMs;
    while (!output.includes('Ctrl-C stops it.')) {
      if (child.exitCode !== null || performance.now() > deadline) {
        child.kill('SIGKILL');
        rmSync(dirname(dataFolder), { recursive: true, force: true });
        throw new Error(`the system did not start:\n${output}`);
      }
      await pause(20);
    }
    const brokerUrl = /broker\s+(http:\S+)/.exec(output)?.[1];
    if (!brokerUrl) throw new Error(`the system does not say where its broker is:\n${output}`);
    return new RunningHost(child, dataFolder, brokerUrl, performance.now() - startedAt);
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#fetch(this.#url + path)).json() as Promise<T>;
  }

  async post<T>(path: string, body: unknown, more: Readonly<Record<string, string>> = {}): Promise<T> {
    const headers = { 'content-type': 'application/json', ...more };
    const request = { method: 'POST', headers, body: JSON.stringify(body) };
    return (await this.#fetch(this.#url + path, request)).json() as Promise<T>;
  }

  /** By the broker's public API, as any Pub/Sub client would. */
  async publish(topic: string, data: unknown, attributes: Record<string, string>): Promise<void> {
    const message = { data: Buffer.from(JSON.stringify(data)).toString('base64'), attributes };
    const response = await this.#fetch(`${this.#brokerUrl}/v1/projects/dormouse/topics/${topic}:publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [message] }),
    });
    await response.arrayBuffer();
  }

  /** Processes started so far, of all services. */
  async wakes(): Promise<number> {
    return (await this.#services()).reduce((sum, { wakes }) => sum + wakes, 0);
  }

  async untilAllSleep(timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const services = await this.#services();
      if (services.every(({ state }) => state === 'asleep' || state === 'inline')) return;
      if (performance.now() > deadline) throw new Error(`still not all asleep: ${JSON.stringify(services)}`);
      await pause(25);
    }
  }

  /** Lines of the host's log since a byte of it, and where to go on. */
  log(fromByte: number): {
    readonly lines: { moment: string; time: string; pid: number; service?: string; line?: string }[];
    readonly end: number;
  } {
    const bytes = readFileSync(join(this.dataFolder, 'host.log'));
    // The last line may be half written.
    const end = bytes.lastIndexOf('\n') + 1;
    const text = bytes.subarray(fromByte, end).toString();
    return {
      lines: text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
      end,
    };
  }

  /** Entries of a workflow's log as they are committed, from the first on, until the signal. */
  async *follow(workflowId: string, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const path = `${this.#url}/api/workflows/${workflowId}/events`;
    const response = await this.#fetch(path, { headers: { accept: 'text/event-stream' }, signal });
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        if (/^event: entry$/m.test(block)) yield JSON.parse(/^data: (.*)$/m.exec(block)![1]!);
      }
    }
  }

  /** Stops it, and leaves its data directory to `startOn`. */
  async halt(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGINT');
    await exited;
  }

  /** Stops it and removes all it kept. */
  async stop(): Promise<void> {
    await this.halt();
    rmSync(dirname(this.dataFolder), { recursive: true, force: true });
  }

  async #services(): Promise<ServiceStatus[]> {
    return (await this.get<{ services: ServiceStatus[] }>('/api/services')).services;
  }

  async #fetch(url: string, { headers, ...init }: RequestInit = {}): Promise<Response> {
    const own = { ...(headers as Record<string, string>), authorization: `Bearer ${this.#token}` };
    const response = await fetch(url, { ...init, headers: own });
    if (!response.ok)
      throw new Error(`${init.method ?? 'GET'} ${url}: HTTP ${response.status} ${await response.text()}`);
    return response;
  }
}

export function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, forMs));
}
