import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveRequests } from './serve-requests.ts';

/** The port of a story's console, and how many requests are under way there. */
export class Front {
  readonly url: string;
  readonly #server: Server;
  #handle: (request: Request) => Promise<Response> = async () => new Response('starting', { status: 503 });
  #inFlight = 0;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async listen(): Promise<Front> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
    const front = new Front(server);
    server.on(
      'request',
      serveRequests((request) => front.handle(request)),
    );
    return front;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  serve(handle: (request: Request) => Promise<Response>): void {
    this.#handle = handle;
  }

  async handle(request: Request): Promise<Response> {
    this.#inFlight++;
    try {
      return await this.#handle(request);
    } finally {
      this.#inFlight--;
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}
