import type { Entry } from '@dormouse/core';
import { DataDirectory } from '@dormouse/local';
import { UsageError } from './usage-error.ts';

/** What a live stream of a workflow carries: entries of its log, and after each batch the workflow as it then is. */
export type Followed =
  | { readonly event: 'entry'; readonly data: Entry }
  | { readonly event: 'workflow'; readonly data: Record<string, unknown> };

/** The console of a running host. */
export class ConsoleClient {
  readonly url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.url = url;
    this.#token = token;
  }

  /** The host that runs on a data directory; undefined where none answers. */
  static async find(dataFolder: string): Promise<ConsoleClient | undefined> {
    const host = DataDirectory.host(dataFolder);
    if (!host) return undefined;
    const client = new ConsoleClient(`http://127.0.0.1:${host.port}`, host.token);
    const answer = await fetch(`${client.url}/healthz`).catch(() => undefined);
    return answer?.ok ? client : undefined;
  }

  /** @throws UsageError where no host runs there */
  static async connect(dataFolder: string): Promise<ConsoleClient> {
    const client = await ConsoleClient.find(dataFolder);
    if (!client)
      throw new UsageError(
        `no system runs on ${dataFolder}; start one with \`npm start\`, or name its directory with --data DIR`,
      );
    return client;
  }

  /** @throws UsageError with the problem the console names */
  async get<T>(path: string): Promise<T> {
    const response = await this.#fetch(path, {});
    if (!response.ok) throw new UsageError((await problemOf(response)).detail);
    return (await response.json()) as T;
  }

  /** A problem is answered, not thrown: the caller shows all of it. */
  async post(path: string, body: string): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
    const response = await this.#fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  /** Follows a workflow from its beginning until the signal or the end of the host. */
  async *follow(workflowId: string, signal: AbortSignal): AsyncGenerator<Followed> {
    const response = await this.#fetch(`/api/workflows/${encodeURIComponent(workflowId)}/events`, {
      headers: { accept: 'text/event-stream' },
      signal,
    });
    if (!response.ok) throw new UsageError((await problemOf(response)).detail);
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
        yield { event: field('event'), data: JSON.parse(field('data')!) } as Followed;
      }
    }
  }

  #fetch(path: string, { headers, ...init }: RequestInit): Promise<Response> {
    return fetch(this.url + path, {
      ...init,
      headers: { ...(headers as Record<string, string>), authorization: `Bearer ${this.#token}` },
    });
  }
}

async function problemOf(response: Response): Promise<{ readonly detail: string }> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { detail: `HTTP ${response.status}: ${text.slice(0, 200)}` };
  }
}
