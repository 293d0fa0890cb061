import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Finished, Program, type ProgramOptions } from './program.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();

/** What `case --json` prints. */
export interface CaseResult {
  readonly workflowId: string;
  readonly status: string;
  readonly reasons: string[];
  readonly findings: {
    rule: string;
    amountMinor: number;
    currency: string;
    date: string;
    merchant: string;
    lineIds: string[];
  }[];
  readonly letters: string[];
  readonly events: number;
  readonly durationMs: number;
}

export interface FailingService {
  readonly failures: number;
  readonly since: number;
  readonly reason: string;
  readonly output: string;
  readonly retryAt?: number;
}

export interface ServiceStatus {
  readonly name: string;
  readonly state: string;
  readonly since: number;
  readonly instances: number;
  readonly inFlight: number;
  readonly wakes: number;
  readonly lastExit?: { readonly at: number; readonly reason: string };
  readonly failing?: FailingService;
}

export interface TraceRow {
  readonly from: string;
  readonly to: string;
  readonly topic: string;
  readonly status: string;
  readonly attempts: number;
  readonly errors: string[];
  readonly failing?: FailingService;
  readonly data: unknown;
}

export interface SandboxItem {
  readonly kind: 'mail' | 'sms' | 'submission' | 'answer';
  readonly key?: string;
  readonly to: string | string[];
  readonly subject: string;
  readonly text: string;
  readonly letterId: string;
  readonly merchant: string;
  readonly decision: string;
}

export interface SandboxRecords {
  readonly counts: Record<
    SandboxItem['kind'],
    { readonly effects: number; readonly distinctKeys: number; readonly repeats: number }
  >;
  readonly items: SandboxItem[];
}

export interface SystemOptions extends ProgramOptions {
  /** Of `dormouse start`, but for --data. */
  readonly args?: readonly string[];
  /** Default: a new one. */
  readonly data?: string;
  readonly npm?: boolean;
  /** Default `start`. */
  readonly command?: 'start' | 'dev';
}

/** A system that `dormouse start` runs, seen from outside: its process, its console, its files. */
export class RunningSystem {
  readonly program: Program;
  readonly data: string;
  #host: { readonly pid: number; readonly port: number; readonly token: string } | undefined;

  private constructor({ args = [], data, npm = false, command = 'start', ...options }: SystemOptions) {
    this.data = data ?? join(mkdtempSync(join(folder, 'system-')), 'data');
    const start = [
      ...(npm && command === 'dev' ? ['run'] : []),
      command,
      ...(npm ? ['--'] : []),
      ...args,
      '--data',
      this.data,
    ];
    this.program = npm ? Program.npm(start, options) : Program.dormouse(start, options);
    if (options.disk) this.data = `/proc/${this.program.pid}/root${this.data}`;
  }

  /** For all tests of a file: the caller destroys it. */
  static async start(options: SystemOptions = {}): Promise<RunningSystem> {
    const system = new RunningSystem(options);
    try {
      await system.#up();
    } catch (error) {
      system.destroy();
      throw error;
    }
    return system;
  }

  /** For one test, that destroys it however it ends. */
  static async ofThisTest(options: SystemOptions = {}): Promise<RunningSystem> {
    const system = new RunningSystem(options);
    onTestFinished(() => system.destroy());
    await system.#up();
    return system;
  }

  get host(): { readonly pid: number; readonly port: number; readonly token: string } {
    return this.#host!;
  }

  get url(): string {
    return `http://127.0.0.1:${this.host.port}`;
  }

  get brokerUrl(): string {
    return /broker +(\S+)/.exec(this.program.stdout)![1]!;
  }

  /** A request to the console with the administrator's token. */
  fetch(path: string, { headers, ...init }: RequestInit = {}): Promise<Response> {
    const authorization = { authorization: `Bearer ${this.host.token}` };
    return fetch(this.url + path, { ...init, headers: { ...authorization, ...(headers as Record<string, string>) } });
  }

  async get<T>(path: string): Promise<T> {
    const response = await this.fetch(path);
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** Opens a case and returns its id. */
  async open(request: unknown): Promise<string> {
    const response = await this.fetch('/api/workflows/create', { method: 'POST', body: JSON.stringify(request) });
    if (response.status !== 201) throw new Error(`the case was refused: ${await response.text()}`);
    return ((await response.json()) as { workflowId: string }).workflowId;
  }

  async statusOf(workflowId: string): Promise<string> {
    return (await this.get<{ status: string }>(`/api/workflows/${workflowId}`)).status;
  }

  reaches(workflowId: string, status: string, boundMs?: number): Promise<true> {
    return until(`${workflowId} is ${status}`, async () => (await this.statusOf(workflowId)) === status, boundMs);
  }

  async services(): Promise<ServiceStatus[]> {
    return (await this.get<{ services: ServiceStatus[] }>('/api/services')).services;
  }

  async trace(workflowId: string): Promise<TraceRow[]> {
    return (await this.get<{ rows: TraceRow[] }>(`/api/workflows/${workflowId}/trace`)).rows;
  }

  async records(workflowId?: string): Promise<SandboxRecords> {
    const query = workflowId === undefined ? '' : `?workflow=${workflowId}`;
    return (await (await fetch(`${this.url}/sandbox/api/records${query}`)).json()) as SandboxRecords;
  }

  /** `dormouse COMMAND … --data DIR` on this system. */
  run(args: readonly string[], options?: ProgramOptions): Promise<Finished> {
    return Program.dormouse([...args, '--data', this.data], options).finished();
  }

  /** The main job, on a file: the exit code, and the one JSON object that stdout must be. */
  async case(
    file: string,
    ...args: readonly string[]
  ): Promise<{ readonly code: number | null; readonly result: CaseResult }> {
    const { code, stdout, stderr } = await this.run(['case', file, '--json', ...args]);
    return { code, result: onlyJsonLine(stdout, stderr) };
  }

  /** Ctrl-C, and how it ended. */
  stop(): Promise<Finished> {
    this.program.interrupt();
    return this.program.finished();
  }

  destroy(): void {
    this.program.family.killAll();
  }

  async #up(): Promise<void> {
    let over: Finished | undefined;
    void this.program.exited.then((finished) => {
      over = finished;
    });
    this.#host = await until('host.json of a system that is up', () => {
      if (over) throw new Error(`it did not start, exit ${over.code}: ${over.stderr}`);
      // One that a killed host left behind is not ours.
      const host = hostFile(this.data);
      return host && this.program.family.members().some(({ pid }) => pid === host.pid) ? host : undefined;
    });
    await until('a console that answers', () =>
      fetch(`${this.url}/healthz`).then(
        ({ ok }) => ok,
        () => false,
      ),
    );
  }
}

export function hostFile(data: string): { pid: number; port: number; token: string } | undefined {
  try {
    return JSON.parse(readFileSync(join(data, 'host.json'), 'utf8'));
  } catch {
    return undefined;
  }
}

/** The result, where stdout is nothing but one JSON object on one line. */
export function onlyJsonLine<T = CaseResult>(stdout: string, stderr = ''): T {
  const lines = stdout.split('\n');
  if (lines.length !== 2 || lines[1] !== '') throw new Error(`not one line on stdout: ${stdout}\n${stderr}`);
  return JSON.parse(lines[0]!);
}
