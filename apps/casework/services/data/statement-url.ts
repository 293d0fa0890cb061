import { promises as dns, type LookupAddress } from 'node:dns';
import type { IncomingMessage } from 'node:http';
import * as http from 'node:http';
import { isIP, type LookupFunction } from 'node:net';
import { type Clock, systemClock } from '@dormouse/core';
import { timeLimit } from '../../outside/time-limit.ts';
import { addressRefusal, type HostPolicy, hostOf, hostRefusal } from './host-policy.ts';

/** The statement can't be had from this URL, however often it is asked for. */
export class StatementRefused extends Error {
  override readonly name = 'StatementRefused';
}

/** The statement could not be had this time: the network or the other side failed. Worth another try later. */
export class StatementUnavailable extends Error {
  override readonly name = 'StatementUnavailable';
}

export type StatementFetchOptions = HostPolicy & {
  /** Ends the fetch with the signal's own reason. */
  readonly signal: AbortSignal;
  /** For everything together: names, redirects, body. Default 30 s. */
  readonly timeoutMs?: number;
  /** Of the body. Default 10 MB. */
  readonly maxBytes?: number;
  /** Default the wall clock. */
  readonly clock?: Clock;
  /** All addresses of a host name. Default: the system's. */
  readonly resolve?: (hostname: string) => Promise<readonly LookupAddress[]>;
};

const redirectsAtMost = 3;
const redirectStatuses = [301, 302, 303, 307, 308];
const retryableStatuses = [408, 429];

/**
 * Fetches the text of a statement from outside. Only allowed hosts are asked, and only at the very addresses that were
 * checked, so that a name can't lead elsewhere between check and connection. Follows 3 redirects, within the same origin.
 *
 * Throws `StatementRefused` (not allowed, a status such as 404, too large, not UTF-8) or `StatementUnavailable` (network,
 * time-out, 408, 429, 5xx). No message holds a URL's query or credentials: they may be secret.
 */
export async function fetchStatementText(address: string, options: StatementFetchOptions): Promise<string> {
  const { signal, timeoutMs = 30_000, clock = systemClock } = options;
  const start = URL.parse(address);
  if (!start)
    throw new StatementRefused('the URL of the statement can not be read: give one such as https://bank.example/1');
  using limit = timeLimit(clock, timeoutMs);
  try {
    return await follow(start, { ...options, signal: AbortSignal.any([signal, limit.signal]) });
  } catch (cause) {
    if (cause instanceof StatementRefused || cause instanceof StatementUnavailable) throw cause;
    signal.throwIfAborted();
    const what = limit.signal.aborted
      ? `did not arrive in full within ${timeoutMs} ms`
      : `could not be fetched (${reason(cause)})`;
    throw new StatementUnavailable(`${shown(start)} ${what}: try again later`, { cause });
  }
}

async function follow(start: URL, options: StatementFetchOptions): Promise<string> {
  let url = start;
  for (let redirects = 0; ; redirects += 1) {
    const response = await ask(url, options);
    try {
      const target = redirectTarget(url, response);
      if (!target) return await readText(url, response, options.maxBytes ?? 10_000_000);
      if (target.origin !== url.origin)
        throw refused(url, `redirects to another host (${target.origin}): give that URL, if it is meant`);
      if (redirects === redirectsAtMost)
        throw refused(start, `redirects more than ${redirectsAtMost} times: give the last URL`);
      url = target;
    } finally {
      response.destroy();
    }
  }
}

async function ask(url: URL, options: StatementFetchOptions): Promise<IncomingMessage> {
  const { signal, resolve = (hostname) => dns.lookup(hostname, { all: true }) } = options;
  const check = (refusal: string | undefined) => {
    if (refusal) throw refused(url, refusal);
  };
  check(hostRefusal(url, options));
  // An address has no name to look up, and `lookup` is not called.
  if (isIP(hostOf(url))) check(addressRefusal(url, hostOf(url), options));

  const lookup: LookupFunction = (hostname, { all }, callback) => {
    const checked = async () => {
      const addresses = await resolve(hostname);
      for (const { address } of addresses) check(addressRefusal(url, address, options));
      if (!addresses[0]) throw new Error(`${hostname} has no address`);
      return addresses as [LookupAddress, ...LookupAddress[]];
    };
    checked().then(
      (addresses) => (all ? callback(null, addresses) : callback(null, addresses[0].address, addresses[0].family)),
      (error) => callback(error, []),
    );
  };
  const headers = { accept: 'application/json, text/csv, */*;q=0.1', 'accept-encoding': 'identity' };
  const { request } = url.protocol === 'https:' ? await import('node:https') : http;
  return new Promise((settle, reject) => {
    // No agent: a connection kept from before was checked before, not now.
    request(url, { agent: false, signal, lookup, headers }).once('response', settle).on('error', reject).end();
  });
}

/** Where a response sends us; undefined where it answers itself. */
function redirectTarget(url: URL, { statusCode = 0, headers }: IncomingMessage): URL | undefined {
  if (!redirectStatuses.includes(statusCode)) return undefined;
  const target = headers.location === undefined ? null : URL.parse(headers.location, url);
  if (!target)
    throw refused(url, `answers ${statusCode} without a location that can be read: give the URL it leads to`);
  return target;
}

async function readText(url: URL, response: IncomingMessage, maxBytes: number): Promise<string> {
  const { statusCode = 0, headers } = response;
  if (statusCode >= 500 || retryableStatuses.includes(statusCode))
    throw new StatementUnavailable(`${shown(url)} answers ${statusCode}: try again later`);
  if (statusCode < 200 || statusCode > 299) throw refused(url, `answers ${statusCode}: check the URL`);
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity')
    throw refused(url, `is encoded as ${encoding}, which was not asked for: send it as it is`);

  const tooLarge = () => refused(url, `is larger than ${maxBytes} bytes: ask for a shorter period`);
  if (Number(headers['content-length']) > maxBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw refused(url, 'is not UTF-8: send it in that encoding', cause);
  }
}

function refused(url: URL, why: string, cause?: unknown): StatementRefused {
  return new StatementRefused(`${shown(url)} ${why}`, cause === undefined ? {} : { cause });
}

function shown({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname.length > 100 ? `${pathname.slice(0, 100)}…` : pathname}`;
}

/** `ECONNREFUSED` and the like; where several addresses failed, the error itself has no message. */
function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
