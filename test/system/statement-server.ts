import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One answer: a status, a body of 200, a redirect, or `hold`: none until it is released. */
export type Answer = number | string | Uint8Array | { readonly redirect: string } | 'hold';

/** Somebody's API that gives statements, on loopback. Each path answers by its script, the last line again and again. */
export class StatementServer {
  readonly url: string;
  readonly #server: Server;
  readonly #scripts = new Map<string, Answer[]>();
  readonly #asked = new Map<string, number>();
  readonly #held = new Map<string, ServerResponse[]>();

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => {
      const path = request.url!;
      this.#asked.set(path, this.asked(path) + 1);
      const script = this.#scripts.get(path) ?? [404];
      const answer = script.length > 1 ? script.shift()! : script[0]!;
      if (answer === 'hold') {
        this.#held.set(path, [...(this.#held.get(path) ?? []), response]);
        return;
      }
      if (typeof answer === 'number') response.writeHead(answer).end();
      else if (typeof answer === 'string' || answer instanceof Uint8Array)
        response.writeHead(200, { 'content-type': 'text/plain' }).end(answer);
      else response.writeHead(302, { location: answer.redirect }).end();
    });
  }

  static async start(): Promise<StatementServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new StatementServer(server);
  }

  /** Returns the URL that answers so. */
  on(path: string, ...script: Answer[]): string {
    this.#scripts.set(path, script);
    return this.url + path;
  }

  /** Answers whoever is held at a path. */
  release(path: string, body: string): void {
    for (const response of this.#held.get(path) ?? []) response.end(body);
    this.#held.delete(path);
  }

  /** How often a path was asked for. */
  asked(path: string): number {
    return this.#asked.get(path) ?? 0;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
