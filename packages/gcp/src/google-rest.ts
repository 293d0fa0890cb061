import type { Agent as HttpAgent, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Clock, Random } from '@dormouse/core';
import { Backoff } from './backoff.ts';
import { errorOf, GoogleError, isPassing } from './google-error.ts';

/** The bearer of a request; asked with the one that was refused, another one. */
export type TokenSource = (refused?: string) => Promise<string>;

export interface GoogleRestOptions {
  /** Of the API: `https://firestore.googleapis.com`, or of an emulator `http://127.0.0.1:8080`. */
  readonly url: string;
  /** An emulator takes `owner`. Default: requests go without. */
  readonly token?: TokenSource | undefined;
  readonly clock: Clock;
  readonly random: Random;
  /** How long nothing may come, of one try. Default 10 s. */
  readonly timeoutMs?: number;
}

export interface RestRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Encoded, with its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The body, as JSON or as it is. Default: none. */
  readonly json?: unknown;
  readonly bytes?: Uint8Array;
  /** Statuses that are an answer and no error, besides those of success. */
  readonly answers?: readonly number[];
  /** Whoever asks knows better than to ask the same again. Default false: by preconditions and names it does no harm. */
  readonly once?: boolean;
}

export interface RestAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
}

const maxTries = 5;
/** After that no try begins: a delivery has a deadline, and the wire a longer patience. */
const patienceMs = 30_000;
const firstWaitMs = 100;
const longestWaitMs = 8_000;
/** So the request never got there. */
const unreached: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH']);

/**
 * One of Google's APIs over REST. What a sleeping service must load for it is Node's own HTTP, and of that not what loads
 * undici. Connections are kept. What passes (429, 5xx, a connection that breaks, no answer in time) is tried again, up to five times
 * in 30 s; a token that is refused is replaced once.
 * @throws GoogleError
 */
export class GoogleRest {
  readonly #options: GoogleRestOptions;
  readonly #backoff: Backoff;
  readonly #http: typeof import('node:http') | typeof import('node:https');
  readonly #agent: HttpAgent;
  readonly #url: URL;

  constructor(options: GoogleRestOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ ...options, firstMs: firstWaitMs, longestMs: longestWaitMs });
    this.#url = new URL(options.url);
    const module = this.#url.protocol === 'https:' ? 'node:https' : 'node:http';
    this.#http = process.getBuiltinModule(module) as typeof import('node:https');
    this.#agent = new this.#http.Agent({ keepAlive: true, maxSockets: 64 });
  }

  /** The same, and its answer is JSON. */
  async json<T>(request: RestRequest): Promise<T> {
    const { status, bytes } = await this.request(request);
    try {
      return (bytes.length === 0 ? {} : JSON.parse(bytes.toString())) as T;
    } catch (cause) {
      const message = `${request.method} ${pathOf(request)} was answered with no JSON`;
      throw new GoogleError('UNKNOWN', message, { code: status, mayHaveHappened: true }, { cause });
    }
  }

  async request(request: RestRequest): Promise<RestAnswer> {
    const { clock, token: tokenOf } = this.#options;
    const giveUpAt = clock.steady() + patienceMs;
    let token = await tokenOf?.();
    let renewed = false;
    let isRepeat = false;
    for (let tries = 1; ; tries++) {
      try {
        return await this.#try(request, token);
      } catch (error) {
        if (!(error instanceof GoogleError)) throw error;
        const { facts } = error;
        if (facts.code === 401 && tokenOf && !renewed) {
          renewed = true;
          token = await tokenOf(token);
          continue;
        }
        const waitMs = facts.retryAfterMs ?? this.#backoff.ms(tries);
        const isPast = tries === maxTries || clock.steady() + waitMs > giveUpAt;
        if (request.once || !isPassing(error) || isPast) {
          throw isRepeat ? error.asRepeat() : error;
        }
        isRepeat ||= facts.mayHaveHappened === true;
        await this.#backoff.wait(waitMs);
      }
    }
  }

  /** Waits as it does itself after so many tries: for whoever asks again of his own. */
  pause(tries: number): Promise<void> {
    return this.#backoff.wait(this.#backoff.ms(tries));
  }

  close(): void {
    this.#agent.destroy();
  }

  #try(request: RestRequest, token: string | undefined): Promise<RestAnswer> {
    const { timeoutMs = 10_000, clock } = this.#options;
    const { method, path, headers, json, answers = [] } = request;
    const body = json === undefined ? request.bytes : Buffer.from(JSON.stringify(json));
    return new Promise<RestAnswer>((resolve, reject) => {
      const fail = (cause: NodeJS.ErrnoException) => {
        const mayHaveHappened = !unreached.has(cause.code ?? '');
        const message = `${method} ${this.#url.host}${pathOf(request)} was not answered: ${cause.message}`;
        reject(new GoogleError('UNAVAILABLE', message, { code: 0, mayHaveHappened }, { cause }));
      };
      const outgoing = this.#http.request(
        {
          host: this.#url.hostname,
          port: this.#url.port,
          path,
          method,
          agent: this.#agent,
          headers: {
            ...(token !== undefined && { authorization: `Bearer ${token}` }),
            ...(json !== undefined && { 'content-type': 'application/json' }),
            ...(body && { 'content-length': body.byteLength }),
            ...headers,
          },
        },
        (response: IncomingMessage) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', fail);
          response.on('end', () => {
            const bytes = Buffer.concat(chunks);
            const { statusCode: status = 0, headers } = response;
            if ((status >= 200 && status < 300) || answers.includes(status)) resolve({ status, headers, bytes });
            else {
              const retryAfterMs = waitAsked(headers['retry-after'], clock.now());
              reject(errorOf(status, bytes.toString(), { mayHaveHappened: status >= 500, retryAfterMs }));
            }
          });
        },
      );
      outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`nothing came for ${timeoutMs} ms`)));
      outgoing.on('error', fail);
      outgoing.end(body);
    });
  }
}

/** Without what a query may tell. */
function pathOf({ path }: RestRequest): string {
  return path.split('?', 1)[0]!;
}

/** Source: RFC 9110, 10.2.3: seconds, or a date. */
function waitAsked(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
