import type { Entry } from '@dormouse/core';
import { DataDirectory } from '@dormouse/local';
import type { Options } from './command-line.ts';
import { accessOf, dataFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

/** What a live stream of a workflow carries: entries of its log, and after each batch the workflow as it then is. */
export type Followed =
  | { readonly event: 'entry'; readonly data: Entry }
  | { readonly event: 'workflow'; readonly data: Record<string, unknown> };

/** Who asks, where that is not the owner of the data directory with its first admin token. */
export interface Access {
  readonly token?: string | undefined;
  /** The one tenant that the house's token is to act for. */
  readonly tenant?: string | undefined;
}

/** The console of a running host. */
export class ConsoleClient {
  readonly url: string;
  readonly #access: Access;

  constructor(url: string, access: Access) {
    this.url = url;
    this.#access = access;
  }

  /** The host that runs on a data directory; undefined where none takes work. */
  static async find(dataFolder: string, { token, tenant }: Access = {}): Promise<ConsoleClient | undefined> {
    const host = DataDirectory.host(dataFolder);
    if (!host) return undefined;
    const client = new ConsoleClient(host.url, { token: token ?? host.token, tenant });
    const answer = await fetch(`${client.url}/readyz`).catch(() => undefined);
    return answer?.ok ? client : undefined;
  }

  /** @throws UsageError where no host runs there */
  static async connect(options: Options): Promise<ConsoleClient> {
    const folder = dataFolder(options);
    const client = await ConsoleClient.find(folder, accessOf(options));
    if (!client)
      throw new UsageError(
        `no system runs on ${folder}; start one with \`npm start\`, or name its directory with --data DIR`,
      );
    return client;
  }

  /** @throws UsageError with the problem the console names */
  async get<T>(path: string): Promise<T> {
    const response = await this.#fetch(path, {});
    if (!response.ok) throw await refusalOf(response);
    return (await response.json()) as T;
  }

  /** All of a listing, whose answer has them under this name, page by page. @throws UsageError */
  async all<T>(path: string, name: string): Promise<T[]> {
    const found: T[] = [];
    for (let cursor = ''; ; ) {
      const page = await this.get<Record<string, T[]> & { readonly cursor?: string }>(`${path}?limit=500${cursor}`);
      found.push(...page[name]!);
      if (page.cursor === undefined) return found;
      cursor = `&cursor=${encodeURIComponent(page.cursor)}`;
    }
  }

  /** A problem is answered, not thrown: the caller shows all of it. */
  async post(
    path: string,
    body: string,
    idempotencyKey?: string,
  ): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
    const headers = {
      'content-type': 'application/json',
      ...(idempotencyKey !== undefined && { 'idempotency-key': `"${idempotencyKey}"` }),
    };
    const response = await this.#fetch(path, { method: 'POST', headers, body });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  /** Follows a workflow from its beginning until the signal or the end of the host. */
  async *follow(workflowId: string, signal: AbortSignal): AsyncGenerator<Followed> {
    const response = await this.#fetch(`/api/workflows/${encodeURIComponent(workflowId)}/events`, {
      headers: { accept: 'text/event-stream' },
      signal,
    });
    if (!response.ok) throw await refusalOf(response);
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
        const data = field('data');
        // A block without data only says that the host is there.
        if (data !== undefined) yield { event: field('event'), data: JSON.parse(data) } as Followed;
      }
    }
  }

  async #fetch(path: string, { headers, ...init }: RequestInit): Promise<Response> {
    const { token, tenant } = this.#access;
    if (token === undefined) {
      const remedy = 'pass one with --token TOKEN, or stop the system and make one with `dormouse token create`';
      throw new UsageError(`the first admin token of this system was revoked; ${remedy}`);
    }
    return fetch(this.url + path, {
      ...init,
      headers: {
        ...(headers as Record<string, string>),
        authorization: `Bearer ${token}`,
        ...(tenant !== undefined && { 'dormouse-tenant': tenant }),
      },
    });
  }
}

/** The host takes no work now: it is about to stop, or its store does not answer. */
export class HostAway extends UsageError {}

async function refusalOf(response: Response): Promise<UsageError> {
  const { detail } = await problemOf(response);
  return response.status === 503 ? new HostAway(detail) : new UsageError(detail);
}

async function problemOf(response: Response): Promise<{ readonly detail: string }> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { detail: `HTTP ${response.status}: ${text.slice(0, 200)}` };
  }
}
