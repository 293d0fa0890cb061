import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { causeOf, type Logger } from '@dormouse/core';
import { traced } from './log.ts';

export interface CloudHead {
  readonly method: string;
  readonly authorization: string | undefined;
}

export interface CloudAnswer {
  readonly status: number;
  /** Why it is no other. */
  readonly detail?: string | undefined;
  readonly json?: object | undefined;
}

export interface Route {
  /** Of the longest body; a longer one is answered 413. */
  readonly maxBodyBytes: number;
  /** Before any of the body is read, which anybody can send: the answer to whoever is not let in. Undefined lets him in. */
  readonly admit: (head: CloudHead) => Promise<CloudAnswer | undefined>;
  readonly answer: (body: string) => Promise<CloudAnswer>;
}

/** By their paths. */
export type Routes = Readonly<Record<string, Route>>;

/** For probes. */
export const healthRoute: Route = {
  maxBodyBytes: 0,
  admit: async () => ({ status: 200 }),
  answer: async () => ({ status: 200 }),
};

export type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/** Longer than Google's front ends keep a connection that is idle: who hangs up first must be the one who would use it next. */
const keepAliveMs = 620_000;
/** Cloud Run kills ten seconds after it has asked. */
const graceMs = 9_000;

/**
 * What a container on Cloud Run answers: a path to a function, and the rest by a listener of its own. Asked to stop it
 * takes no new connection, lets what it holds be answered, and exits.
 */
export class HttpServer {
  readonly #server: Server;
  readonly #log: Logger;
  readonly #held = new Set<ServerResponse>();
  #onFree: () => void = () => {};

  /** @param otherwise what answers other paths. Default: 404 */
  constructor(
    routes: Routes,
    log: Logger,
    otherwise: Listener = (_incoming, outgoing) => void outgoing.writeHead(404).end(),
  ) {
    this.#log = log;
    this.#server = createServer({ keepAliveTimeout: keepAliveMs }, (incoming, outgoing) => {
      this.#hold(outgoing);
      traced(incoming.headers, () => {
        const path = incoming.url!.split('?', 1)[0]!;
        const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
        if (route) void this.#answer(route, incoming, outgoing);
        else otherwise(incoming, outgoing);
      });
    });
  }

  /** @param port 0: one that is free. @returns which it is */
  listen(port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  /**
   * From now on SIGTERM ends the process, with exit code 0; a second one changes nothing. What is not answered by then comes again, by the wire.
   * @param onStopping nothing new comes from then on, and what waits for something may end
   */
  stopOnSignal(onStopping: () => void = () => {}): void {
    process.once('SIGTERM', async () => {
      // Whoever asks again does not want it to drop what it holds.
      process.on('SIGTERM', () => {});
      onStopping();
      const late = new Promise<'late'>((resolve) => setTimeout(resolve, graceMs, 'late'));
      if ((await Promise.race([this.close(), late])) === 'late') {
        this.#log.warn('service.cut', { unanswered: this.#held.size, afterMs: graceMs });
      }
      process.exit(0);
    });
  }

  /** Takes no new connection. Resolves when all that it holds is answered. */
  async close(): Promise<void> {
    this.#server.close();
    if (this.#held.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onFree = resolve;
    });
  }

  #hold(outgoing: ServerResponse): void {
    this.#held.add(outgoing);
    outgoing.on('close', () => {
      this.#held.delete(outgoing);
      if (this.#held.size === 0) this.#onFree();
    });
  }

  async #answer(route: Route, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    try {
      const { method = 'GET', headers } = incoming;
      const refused = await route.admit({ method, authorization: headers.authorization });
      const body = refused ? '' : await bodyOf(incoming, route.maxBodyBytes);
      if (body === undefined) {
        outgoing.writeHead(413).end();
        return;
      }
      const answer = refused ?? (await route.answer(body));
      const { status, json = answer.detail === undefined ? undefined : { status, detail: answer.detail } } = answer;
      const content = json && JSON.stringify(json);
      outgoing.writeHead(status, content === undefined ? {} : { 'content-type': 'application/json' }).end(content);
    } catch (error) {
      // The sender hung up, or the route threw, which it must not.
      if (!outgoing.destroyed) this.#log.error('request.failed', { cause: causeOf(error) });
      outgoing.destroy();
    }
  }
}

/** Undefined as soon as it is too long: what still comes is read by Node, and kept by nobody. Rejects where it breaks off. */
function bodyOf(incoming: IncomingMessage, maxBodyBytes: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBodyBytes) chunks.push(chunk);
      else {
        chunks.length = 0;
        resolve(undefined);
      }
    });
    incoming.on('end', () => resolve(Buffer.concat(chunks).toString()));
    incoming.on('error', reject);
  });
}
