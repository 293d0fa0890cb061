import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { serveRequests } from './serve-requests.ts';

async function serve(handle: (request: Request) => Promise<Response>): Promise<number> {
  const server = createServer(serveRequests(handle));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Sends bytes, hangs up after, and returns what came. */
function send(port: number, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', () => {});
  });
}

test.each([
  ['a method no one may use', 'TRACE / HTTP/1.1\r\nHost: x\r\n\r\n', /^HTTP\/1\.1 400/],
  ['a host name that is none', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', /^HTTP\/1\.1 400/],
  [
    'a body that breaks off',
    'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf',
    /^(HTTP\/1\.1 (400|500)|$)/,
  ],
])('%s is refused, and the server goes on', async (_what, bytes, answer) => {
  const port = await serve(async () => new Response('fine'));
  expect(await send(port, bytes)).toMatch(answer);
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('fine');
});

test('a handler that throws is a 500, and the server goes on', async () => {
  const port = await serve(async ({ url }) => {
    if (url.endsWith('/bad')) throw new Error('no');
    return new Response('fine');
  });
  expect((await fetch(`http://127.0.0.1:${port}/bad`)).status).toBe(500);
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
});

test('a body over the limit is refused before all of it is read', async () => {
  const port = await serve(async () => new Response('fine'));
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: new Uint8Array(16_000_000) }).catch(
    () => undefined,
  );
  expect([413, undefined]).toContain(response?.status);
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('fine');
});
