import type { IncomingMessage, ServerResponse } from 'node:http';

/** Runs a plain `Request -> Response` function behind Node's HTTP server. */
export function serveRequests(handle: (request: Request) => Promise<Response>) {
  return async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const { method = 'GET', url = '/' } = incoming;
    const request = new Request(`http://${incoming.headers.host ?? 'localhost'}${url}`, {
      method,
      headers: incoming.headers as Record<string, string>,
      ...(method !== 'GET' && method !== 'HEAD' && { body: Buffer.concat(chunks) }),
    });
    const response = await handle(request);
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(response.body === null ? undefined : await response.text());
  };
}
