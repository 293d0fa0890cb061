import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { http } from './node-http.ts';
import { maxBodyBytes, type RestApi, type RestRequest } from './rest.ts';

/** Longer than clients keep a connection without a request: whoever hangs up first must be the one who would use it next. */
const keepAliveMs = 75_000;

/** A server for a REST API, not listening yet. Whatever comes in, it answers or hangs up. */
export function createRestServer(api: RestApi): Server {
  return http.createServer({ keepAliveTimeout: keepAliveMs }, (incoming, outgoing) => {
    incoming.on('error', () => outgoing.destroy());
    readBody(incoming, (body) => {
      if (body) void answer(api, new IncomingRequest(incoming, outgoing, body), outgoing);
      else outgoing.writeHead(413, { connection: 'close' }).end();
    });
  });
}

async function answer(api: RestApi, request: RestRequest, outgoing: ServerResponse): Promise<void> {
  try {
    const { status, body } = await api(request);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    outgoing.writeHead(status, headers).end(body);
  } catch {
    // The sender went away, or the API threw, which it must not: there is nobody to tell here.
    if (outgoing.headersSent) outgoing.destroy();
    else outgoing.writeHead(500, { connection: 'close' }).end();
  }
}

/** Calls back once, without a body where it is too long; never where it breaks off. */
function readBody(incoming: IncomingMessage, done: (body?: Buffer) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  incoming.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= maxBodyBytes) chunks.push(chunk);
    else {
      incoming.pause().removeAllListeners('data').removeAllListeners('end');
      done();
    }
  });
  incoming.on('end', () => done(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
}

class IncomingRequest implements RestRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly #outgoing: ServerResponse;

  constructor({ method, url, headers }: IncomingMessage, outgoing: ServerResponse, body: Buffer) {
    this.method = method!;
    this.url = url!;
    this.headers = headers;
    this.body = body;
    this.#outgoing = outgoing;
  }

  /** Made for who asks for it: most requests are answered before anyone could hang up. */
  get signal(): AbortSignal {
    const gone = new AbortController();
    const outgoing = this.#outgoing;
    if (outgoing.destroyed) gone.abort();
    outgoing.on('close', () => {
      // An abort that nobody needs makes an error with its stack all the same.
      if (!outgoing.writableFinished) gone.abort();
    });
    return gone.signal;
  }
}
