import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { OrderedFaults, type SeenRequest } from './ordered-faults.ts';

export interface ApiAnswer {
  /** Default 200. */
  readonly status?: number;
  readonly json?: unknown;
  readonly bytes?: Uint8Array;
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
}

/** What an API refuses, in the form of Google's. */
export class ApiRefusal extends Error {
  override readonly name = 'ApiRefusal';
  readonly code: number;
  readonly status: string;

  constructor(code: number, status: string, message: string) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** An API over HTTP on a free port of this machine, with faults to order: of a handler, or what a server of one of Google's APIs is built on. */
export class ApiServer implements AsyncDisposable {
  readonly faults = new OrderedFaults();
  /** `GET /path`, without queries, since the start. */
  readonly requests: string[] = [];
  readonly #server: Server;
  readonly #handle: (request: SeenRequest) => Promise<ApiAnswer>;

  /** @param handle throws an `ApiRefusal`; whatever else it throws is a 500 */
  constructor(handle: (request: SeenRequest) => Promise<ApiAnswer>) {
    this.#handle = handle;
    this.#server = createServer((request, response) => void this.#take(request, response));
    // A client finds its kept connections open for as long as a test may take.
    this.#server.keepAliveTimeout = 120_000;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  /** `host:port` */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `http://${this.address}`;
  }

  async #take(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await received(incoming);
    if (!request) return;
    this.requests.push(`${request.method} ${request.path.split('?', 1)[0]}`);
    const fault = this.faults.strike(request);
    if (fault?.delayMs) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    if (fault?.mishap === 'dropped') {
      incoming.socket.destroy();
      return;
    }
    const mishap = typeof fault?.mishap === 'object' ? fault.mishap : undefined;
    const answer = mishap ? answerOf(mishap) : await this.#handle(request).catch(refused);
    if (fault?.mishap === 'answer lost') incoming.socket.destroy();
    else send(response, answer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Undefined where the client went away in the middle of it. */
async function received(incoming: IncomingMessage): Promise<SeenRequest | undefined> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of incoming) chunks.push(chunk);
  } catch {
    return undefined;
  }
  const { method = '', url = '', headers } = incoming;
  return { method, path: url, headers, body: Buffer.concat(chunks) };
}

function answerOf({ status, body, headers }: { status: number; body?: unknown; headers?: ApiAnswer['headers'] }) {
  const json = body ?? { error: { code: status, message: `ordered: ${status}` } };
  return { status, json, ...(headers && { headers }) };
}

function refused(error: unknown): ApiAnswer {
  const { code, status, message } =
    error instanceof ApiRefusal ? error : { code: 500, status: 'INTERNAL', message: String((error as Error).stack) };
  return { status: code, json: { error: { code, message, status, errors: [{ message }] } } };
}

function send(response: ServerResponse, { status = 200, json, bytes, headers }: ApiAnswer): void {
  const body = json === undefined ? Buffer.from(bytes ?? []) : Buffer.from(JSON.stringify(json));
  for (const [name, value] of Object.entries(headers ?? {})) if (value !== undefined) response.setHeader(name, value);
  if (json !== undefined) response.setHeader('content-type', 'application/json; charset=UTF-8');
  if (!response.hasHeader('content-length')) response.setHeader('content-length', body.byteLength);
  response.writeHead(status).end(body);
}
