import type { IncomingMessage, ServerResponse } from 'node:http';

/** More than any request of ours: Pub/Sub's publish takes 10 MB, in base64. */
const maxBodyBytes = 15_000_000;

/**
 * Runs a plain `Request -> Response` function behind Node's HTTP server. Whatever comes in, it answers or hangs up. The
 * request's signal aborts when its sender is gone.
 */
export function serveRequests(handle: (request: Request) => Promise<Response>) {
  return async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    try {
      const gone = new AbortController();
      outgoing.on('close', () => {
        // An abort that nobody needs makes an error with its stack all the same.
        if (!outgoing.writableFinished) gone.abort();
      });
      const request = await requestOf(incoming, gone.signal);
      if (typeof request === 'number') {
        outgoing.writeHead(request, { connection: 'close' }).end();
        return;
      }
      const response = await handle(request);
      const body = response.body === null ? undefined : Buffer.from(await response.arrayBuffer());
      outgoing.writeHead(response.status, {
        ...Object.fromEntries(response.headers),
        ...(body && { 'content-length': body.length }),
      });
      outgoing.end(body);
    } catch {
      // The sender went away, or the handler threw, which it must not: there is nobody to tell here.
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(500, { connection: 'close' }).end();
    }
  };
}

/** The request, or the status that refuses it. */
async function requestOf(incoming: IncomingMessage, signal: AbortSignal): Promise<Request | 400 | 413> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) return 413;
    chunks.push(chunk);
  }
  const { method = 'GET', url = '/', headers } = incoming;
  try {
    return new Request(new URL(url, `http://${headers.host ?? 'localhost'}`), {
      method,
      headers: headers as Record<string, string>,
      signal,
      ...(method !== 'GET' && method !== 'HEAD' && { body: Buffer.concat(chunks) }),
    });
  } catch {
    // A host name that is none, a method that no one may use.
    return 400;
  }
}
