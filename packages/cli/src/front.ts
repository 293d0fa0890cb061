import type { AddressInfo } from 'node:net';
import { problem, Refusal } from '@dormouse/console';
import { type ServerType, serve } from '@hono/node-server';
import type { Listening } from './listening.ts';
import { UsageError } from './usage-error.ts';

type Fetch = (request: Request) => Promise<Response>;

const drainMs = 2_000;

/** The console's port: taken at once, and while there is nothing to serve, or nothing more, it says so with 503. */
export class Front {
  readonly port: number;
  readonly url: string;
  readonly #server: ServerType;
  readonly #handler: { fetch: Fetch };
  readonly #underWay = new Set<Promise<unknown>>();

  private constructor(server: ServerType, handler: { fetch: Fetch }, listening: Listening) {
    this.#server = server;
    this.#handler = handler;
    this.port = (server.address() as AddressInfo).port;
    this.url = listening.url(this.port);
  }

  static listen(port: number, listening: Listening): Promise<Front> {
    const handler = { fetch: unready('this host is starting') };
    const { hostname } = listening;
    return new Promise((resolve, reject) => {
      const server = serve({ fetch: (request) => handler.fetch(request), hostname, port }, () =>
        resolve(new Front(server, handler, listening)),
      );
      server.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'EADDRINUSE') {
          reject(new UsageError(`port ${port} is in use; use --port N with another, or leave it out for a free one`));
        } else if (['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'EACCES'].includes(error.code ?? '')) {
          reject(
            new UsageError(`--host ${hostname}: cannot listen there (${error.code}); use an address of this machine`),
          );
        } else reject(error);
      });
    });
  }

  serve(fetch: Fetch): void {
    this.#handler.fetch = async (request) => {
      const answer = fetch(request);
      this.#underWay.add(answer);
      return answer.finally(() => this.#underWay.delete(answer));
    };
  }

  /** Takes nothing new, and waits for what is under way, up to two seconds. */
  async drain(): Promise<void> {
    this.#handler.fetch = unready('this host is stopping');
    const late = AbortSignal.timeout(drainMs);
    const bound = new Promise((resolve) => late.addEventListener('abort', resolve));
    await Promise.race([Promise.allSettled(this.#underWay), bound]);
  }

  /** Closing again does nothing. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    if ('closeAllConnections' in this.#server) this.#server.closeAllConnections();
    await closed;
  }
}

/** The process is alive, and that is all. */
function unready(reason: string): Fetch {
  return async ({ url }) => {
    const { pathname } = new URL(url);
    if (pathname === '/healthz') return Response.json({ status: 'ok' });
    return problem(new Refusal(503, reason, { reasons: [reason], headers: { 'retry-after': '1' } }), pathname);
  };
}
