import type { IncomingMessage, RequestOptions } from 'node:http';
import * as http from 'node:http';
import { type Clock, systemClock } from '@dormouse/core';
import { timeLimit } from './time-limit.ts';

/** A call to the outside that failed. Its message holds no secrets and nothing of the request's or answer's content. */
export class OutsideError extends Error {
  override readonly name = 'OutsideError';
  /** The same request would fail again. */
  readonly permanent: boolean;
  /** Of the answer, where it refused. */
  readonly status: number | undefined;

  constructor(message: string, options: { permanent: boolean; status?: number; cause?: unknown }) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.permanent = options.permanent;
    this.status = options.status;
  }
}

export interface OutsideCall {
  /** Who is called, for error messages: `bank`. */
  readonly name: string;
  readonly method: 'GET' | 'POST';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** From the first packet to the last. */
  readonly timeoutMs: number;
  /** The most that is read of an answer. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
  /** Default the wall clock. */
  readonly clock?: Clock | undefined;
}

/** What came back: its content as it arrives, which `end` breaks off. */
export interface OutsideAnswer {
  readonly status: number;
  readonly content: AsyncIterable<Uint8Array>;
  readonly end: () => void;
}

/** How a request goes out. Rejects where the connection fails, or when the signal aborts. */
export type HttpWay = (call: OutsideCall, signal: AbortSignal) => Promise<OutsideAnswer>;

let way: HttpWay = byNetwork;

/** From now on requests go out another way than by the network, as in a simulation. Answers what takes that back. */
export function reachOutsideBy(other: HttpWay): () => void {
  way = other;
  return () => {
    way = byNetwork;
  };
}

/**
 * Calls an HTTP service and returns the text of its answer. No redirects are followed and no connection is kept.
 * Anything but a 2xx answer, complete and in bounds, is an OutsideError; it is permanent where the answer says so (4xx
 * but 408, 425 and 429) or is too large. An abort rejects with the signal's reason.
 * On node:http, since the first `fetch` of a process costs 20 ms and 8 MB more.
 */
export async function callOutside(call: OutsideCall): Promise<string> {
  const { name, url, timeoutMs, signal, clock = systemClock } = call;
  signal?.throwIfAborted();
  const who = `${name} at ${url.origin}`;
  using limit = timeLimit(clock, timeoutMs);
  try {
    const { status, content, end } = await way(call, signal ? AbortSignal.any([signal, limit.signal]) : limit.signal);
    if (status < 200 || status > 299) {
      end();
      throw refusal(who, status);
    }
    return await textOf(content, who, call.maxBytes);
  } catch (error) {
    if (error instanceof OutsideError) throw error;
    signal?.throwIfAborted();
    const what = limit.signal.aborted
      ? `gave no answer within ${timeoutMs} ms`
      : `could not be reached: ${codeOf(error)}`;
    throw new OutsideError(`${who} ${what}; try again later`, { permanent: false, cause: error });
  }
}

async function byNetwork(call: OutsideCall, signal: AbortSignal): Promise<OutsideAnswer> {
  const { request } = call.url.protocol === 'https:' ? await import('node:https') : http;
  const length = call.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(call.body)) };
  const options: RequestOptions = {
    method: call.method,
    headers: { ...length, ...call.headers },
    agent: false,
    signal,
  };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request(call.url, options, resolve).on('error', reject).end(call.body);
  const response = await promise;
  return { status: response.statusCode ?? 0, content: response, end: () => response.destroy() };
}

async function textOf(content: AsyncIterable<Uint8Array>, who: string, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.length;
    // Leaving the loop ends the response.
    if (bytes > maxBytes) {
      throw new OutsideError(`${who} answered with more than ${maxBytes} bytes; ask for less`, { permanent: true });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function refusal(who: string, status: number): OutsideError {
  const permanent = status >= 400 && status <= 499 && ![408, 425, 429].includes(status);
  const remedy = permanent ? 'the same request will not be taken, correct it or the configuration' : 'try again later';
  return new OutsideError(`${who} answered ${status}; ${remedy}`, { permanent, status });
}

function codeOf(error: unknown): string {
  return error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : 'unknown cause';
}
