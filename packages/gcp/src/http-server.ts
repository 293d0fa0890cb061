import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { causeOf, type Logger } from '@dormouse/core';
import { traced } from './log.ts';

export interface CloudRequest {
  readonly method: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

export interface CloudAnswer {
  readonly status: number;
  /** Why it is no other. */
  readonly detail?: string | undefined;
  readonly json?: object | undefined;
}

/** By their paths. */
export type Routes = Readonly<Record<string, (request: CloudRequest) => Promise<CloudAnswer> | CloudAnswer>>;

export type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/** More than a push of the largest message, 10 MB, takes in base64. */
const maxBodyBytes = 15_000_000;
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
        const handle = Object.hasOwn(routes, path) ? routes[path] : undefined;
        if (handle) void this.#answer(handle, incoming, outgoing);
        else otherwise(incoming, outgoing);
      });
    });
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, resolve);
    });
  }

  /**
   * From now on SIGTERM ends the process, with exit code 0. What is not answered by then comes again, by the wire.
   * @param onStopping nothing new comes from then on, and what waits for something may end
   */
  stopOnSignal(onStopping: () => void = () => {}): void {
    process.once('SIGTERM', async () => {
      onStopping();
      const late = new Promise<'late'>((resolve) => setTimeout(resolve, graceMs, 'late'));
      if ((await Promise.race([this.#drain(), late])) === 'late') {
        this.#log.warn('service.cut', { unanswered: this.#held.size, afterMs: graceMs });
      }
      process.exit(0);
    });
  }

  async #drain(): Promise<void> {
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

  async #answer(handle: Routes[string], incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    try {
      const body = await bodyOf(incoming);
      if (body === undefined) {
        outgoing.writeHead(413, { connection: 'close' }).end();
        return;
      }
      const { method = 'GET', headers } = incoming;
      const answer = await handle({ method, authorization: headers.authorization, body });
      const { status, json = answer.detail === undefined ? undefined : { status, detail: answer.detail } } = answer;
      const content = json && JSON.stringify(json);
      outgoing.writeHead(status, content === undefined ? {} : { 'content-type': 'application/json' }).end(content);
    } catch (error) {
      // The sender hung up, or the handler threw, which it must not.
      if (!outgoing.destroyed) this.#log.error('request.failed', { cause: causeOf(error) });
      outgoing.destroy();
    }
  }
}

/** Undefined where it is too long: the rest is not read. Rejects where it breaks off. */
function bodyOf(incoming: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBodyBytes) chunks.push(chunk);
      else {
        incoming.pause();
        resolve(undefined);
      }
    });
    incoming.on('end', () => resolve(Buffer.concat(chunks).toString()));
    incoming.on('error', reject);
  });
}
