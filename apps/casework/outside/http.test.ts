import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { callOutside, type OutsideCall } from './http.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function serve(listener: RequestListener): Promise<string> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function call(origin: string, changes: Partial<OutsideCall> = {}): Promise<string> {
  const url = new URL('/secret-path?q=private', origin);
  return callOutside({ name: 'bank', method: 'GET', url, timeoutMs: 2_000, maxBytes: 1_000, ...changes });
}

test('a 2xx answer is returned as text, the body and its length having been sent', async () => {
  const origin = await serve(async (request, response) => {
    const body = (await request.toArray()).join('');
    response.writeHead(201).end(`${request.method} ${request.headers['content-length']} ${body}`);
  });
  expect(await call(origin, { method: 'POST', body: 'Grüße' })).toBe('POST 7 Grüße');
});

test.each([
  [500, false],
  [503, false],
  [429, false],
  [408, false],
  [302, false],
  [400, true],
  [404, true],
  [422, true],
])('an answer of %i is an error, permanent: %s', async (status, permanent) => {
  const origin = await serve((_request, response) => response.writeHead(status, { location: '/' }).end('private'));
  const remedy = permanent ? 'the same request will not be taken, correct it or the configuration' : 'try again later';
  await expect(call(origin)).rejects.toMatchObject({
    name: 'OutsideError',
    permanent,
    message: `bank at ${origin} answered ${status}; ${remedy}`,
  });
});

test('an answer larger than allowed is not read to its end', async () => {
  const origin = await serve((_request, response) => {
    response.writeHead(200);
    response.write('x'.repeat(2_000));
  });
  await expect(call(origin)).rejects.toMatchObject({
    permanent: true,
    message: `bank at ${origin} answered with more than 1000 bytes; ask for less`,
  });
});

test('no answer within the time allowed, not even its last byte, is an error', async () => {
  const silent = await serve(() => undefined);
  const late = { permanent: false, message: expect.stringContaining('gave no answer within 50 ms; try again later') };
  await expect(call(silent, { timeoutMs: 50 })).rejects.toMatchObject(late);
  server?.removeAllListeners('request').on('request', (_request, response) => response.writeHead(200).write('begun'));
  await expect(call(silent, { timeoutMs: 50 })).rejects.toMatchObject(late);
});

test('a connection that is refused or cut is an error that says how', async () => {
  const origin = await serve((request) => request.socket.resetAndDestroy());
  await expect(call(origin)).rejects.toMatchObject({
    permanent: false,
    message: `bank at ${origin} could not be reached: ECONNRESET; try again later`,
  });
  server?.close();
  await expect(call(origin)).rejects.toMatchObject({ message: expect.stringContaining('ECONNREFUSED') });
});

test('an abort rejects with its own reason', async () => {
  const origin = await serve(() => undefined);
  const reason = new Error('the step has run out of time');
  const controller = new AbortController();
  const calling = call(origin, { signal: controller.signal });
  controller.abort(reason);
  await expect(calling).rejects.toBe(reason);
  await expect(call(origin, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});
