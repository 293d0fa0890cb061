import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Faults, FaultTarget } from './faults.ts';

export interface Answer {
  readonly status: number;
  readonly type: 'application/json' | 'application/problem+json';
  readonly body: string | Readable;
}

export interface Asked {
  readonly url: URL;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** One of the outside's HTTP interfaces. */
export interface Route {
  readonly target: FaultTarget;
  readonly method: 'GET' | 'POST';
  readonly path: RegExp;
  /** The largest body it takes. */
  readonly maxBytes: number;
  answer(asked: Asked): Promise<Answer>;
}

export function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: JSON.stringify(value) };
}

/** Problem details, RFC 9457. */
export function problem(status: number, title: string, detail: string): Answer {
  return {
    status,
    type: 'application/problem+json',
    body: JSON.stringify({ type: 'about:blank', title, status, detail }),
  };
}

/** Serves the routes on a free port, each with the fault it is to have. */
export async function serveRoutes(routes: readonly Route[], faults: Faults, host: string): Promise<HttpServer> {
  const server = createServer((request, response) => {
    serve(routes, faults, request, response).catch((error: Error) => {
      // The caller has gone, or the record cannot be written. Either way it gets no answer that would tell otherwise.
      response.destroy(error);
    });
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  return { port: (server.address() as AddressInfo).port, close: () => closeAll(server) };
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

async function serve(
  routes: readonly Route[],
  faults: Faults,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://sandbox');
  const route = routes.find(({ method, path }) => method === request.method && path.test(url.pathname));
  if (!route)
    return send(response, problem(404, 'Not found', `${request.method} ${url.pathname} is not of this sandbox`));
  const body = await bodyOf(request, route.maxBytes);
  if (!body) {
    response.setHeader('connection', 'close');
    return send(response, problem(413, 'Too large', `The body must have at most ${route.maxBytes} bytes`));
  }
  const fault = faults.take(route.target, url);
  if (fault?.mode === 'status') {
    return send(response, problem(fault.status ?? 503, 'Out of order', `A fault is set for ${route.target}`));
  }
  const answer = await route.answer({ url, headers: request.headers, body });
  if (fault && typeof answer.body !== 'string') answer.body.destroy();
  if (fault?.mode === 'hang') return faults.hold(request.socket);
  if (fault?.mode === 'reset') request.socket.resetAndDestroy();
  else if (fault?.mode === 'malformed') await send(response, { ...json(200, ''), body: '{"malformed": ' });
  else await send(response, answer);
}

async function bodyOf(request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function send(response: ServerResponse, { status, type, body }: Answer): Promise<void> {
  response.writeHead(status, { 'content-type': type });
  if (typeof body === 'string') response.end(body);
  else await pipeline(body, response);
}

function closeAll(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  return closed;
}
