import type { Entry } from '@dormouse/core';
import { DataDirectory } from '@dormouse/local';
import { type Access, accessOf } from './access.ts';
import type { Options } from './command-line.ts';
import { type ConsoleAddress, consoleAddressOf } from './console-address.ts';
import { dataFolder } from './settings.ts';
import { UsageError } from './usage-error.ts';

/** What a live stream of a workflow carries: entries of its log, and after each batch the workflow as it then is. */
export type Followed =
  | { readonly event: 'entry'; readonly data: Entry }
  | { readonly event: 'workflow'; readonly data: Record<string, unknown> };

/** The console of a running host, or one that runs elsewhere. */
export class ConsoleClient {
  readonly url: string;
  readonly #access: Access;
  /** Undefined: on this machine. */
  readonly #elsewhere: ConsoleAddress | undefined;

  constructor(url: string, access: Access, elsewhere?: ConsoleAddress) {
    this.url = url;
    this.#access = access;
    this.#elsewhere = elsewhere;
  }

  /** The host that runs on a data directory; undefined where none takes work. */
  static async find(dataFolder: string, { token, tenant }: Access = {}): Promise<ConsoleClient | undefined> {
    const host = DataDirectory.host(dataFolder);
    if (!host) return undefined;
    const client = new ConsoleClient(host.url, { token: token ?? host.token, tenant });
    const answer = await fetch(`${client.url}/readyz`).catch(() => undefined);
    return answer?.ok ? client : undefined;
  }

  /** The console at the address that the user named; undefined where he named none. @throws UsageError */
  static elsewhere(options: Options): ConsoleClient | undefined {
    const address = consoleAddressOf(options);
    if (!address) return undefined;
    const access = accessOf(options);
    if (access.token !== undefined) return new ConsoleClient(address.url, access, address);
    throw new UsageError(
      `who asks ${address.url}? Set DORMOUSE_TOKEN, or name a file with --token-file FILE; a console's first token is its DORMOUSE_ADMIN_TOKEN`,
    );
  }

  /** @throws UsageError where no host runs there */
  static async connect(options: Options): Promise<ConsoleClient> {
    const elsewhere = ConsoleClient.elsewhere(options);
    if (elsewhere) return elsewhere;
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
    if (!response.ok) throw await this.#refusalOf(response);
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
    // Whoever shows the problem does not say whose it is.
    const isDoors = !isJson(response) || refusedAtDoor.has(response.status);
    if (this.#elsewhere && isDoors) throw await this.#refusalOf(response);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  /** Follows a workflow from its beginning until the signal or the end of the host. */
  async *follow(workflowId: string, signal: AbortSignal): AsyncGenerator<Followed> {
    const response = await this.#fetch(`/api/workflows/${encodeURIComponent(workflowId)}/events`, {
      headers: { accept: 'text/event-stream' },
      signal,
    });
    if (!response.ok) throw await this.#refusalOf(response);
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
    const identity = await this.#elsewhere?.identity?.();
    const request = {
      ...init,
      headers: {
        ...(headers as Record<string, string>),
        authorization: `Bearer ${token}`,
        // Cloud Run looks at this first, and then leaves the other to the console.
        ...(identity !== undefined && { 'x-serverless-authorization': `Bearer ${identity}` }),
        ...(tenant !== undefined && { 'dormouse-tenant': tenant }),
      },
    };
    if (!this.#elsewhere) return fetch(this.url + path, request);
    // No token goes anywhere but where the user said.
    const response = await fetch(this.url + path, { ...request, redirect: 'manual' }).catch((error: Error) => {
      throw init.signal?.aborted ? error : unreached(this.url, error);
    });
    if (response.status < 300 || response.status > 399) return response;
    throw new UsageError(`${this.url} sends elsewhere, to ${response.headers.get('location')}; name that with --url`);
  }

  async #refusalOf(response: Response): Promise<UsageError> {
    const { status } = response;
    if (this.#elsewhere && !isJson(response)) {
      const told = this.#doorTold(this.#elsewhere, status);
      return status === 429 || status === 503 ? new HostAway(told) : new UsageError(told);
    }
    const { detail } = await problemOf(response);
    if (status === 503) return new HostAway(detail);
    const isRefused = this.#elsewhere && refusedAtDoor.has(status);
    return new UsageError(isRefused ? `the console at ${this.url} refuses the token: ${detail}` : detail);
  }

  /** What did not come from the console, whose problems are JSON, but from what stands before it. */
  #doorTold({ identity }: ConsoleAddress, status: number): string {
    const what = `Cloud Run, or whatever stands before ${this.url}, answered ${status}`;
    if (!refusedAtDoor.has(status)) return `${what}, and the console nothing`;
    const remedy =
      'DORMOUSE_IDENTITY_TOKEN="$(gcloud auth print-identity-token)", or on a machine of Google’s --identity metadata';
    return identity
      ? `${what}: it does not take the identity it was shown; is the token expired (they are good for an hour), is it for this address, and has its account roles/run.invoker on the service?`
      : `${what}: it wants to know who comes, beside the console’s token; ${remedy}`;
  }
}

const refusedAtDoor: ReadonlySet<number> = new Set([401, 403]);

/** The host takes no work now: it is about to stop, or its store does not answer; elsewhere also: it has no instance for us. */
export class HostAway extends UsageError {}

function isJson({ headers }: Response): boolean {
  return /^application\/(?:[\w.+-]+\+)?json\b/.test(headers.get('content-type') ?? '');
}

function unreached(url: string, error: Error): UsageError {
  const { code = '', message } = (error.cause ?? error) as NodeJS.ErrnoException;
  const isCertificate = /^(?:CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code);
  const remedy = isCertificate
    ? '; its certificate is not trusted: NODE_EXTRA_CA_CERTS names a file with an authority of your own'
    : '';
  return new UsageError(`no console answers at ${url}: ${message || code}${remedy}`, { cause: error });
}

async function problemOf(response: Response): Promise<{ readonly detail: string }> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { detail: `HTTP ${response.status}: ${text.slice(0, 200)}` };
  }
}
