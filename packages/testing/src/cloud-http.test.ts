// Real: the server of a container, and what connects to it.
import { connect } from 'node:net';
import { HttpServer, type Route } from '@dormouse/gcp';
import { expect, onTestFinished, test } from 'vitest';
import { until } from './until.ts';

const quiet = { info() {}, warn() {}, error() {} };

async function listening(route: Route): Promise<number> {
  const server = new HttpServer({ '/tick': route }, quiet);
  onTestFinished(() => server.close());
  return server.listen(0);
}

/** Sends this as it is, and hears what comes back. */
function exchange(port: number, sent: string): { readonly said: () => string } {
  let said = '';
  const socket = connect(port, '127.0.0.1', () => socket.write(sent));
  socket.on('data', (chunk) => {
    said += chunk;
  });
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  return { said: () => said };
}

test('who is not let in is answered before his body has come, which nobody keeps', async () => {
  const bodies: string[] = [];
  const port = await listening({
    maxBodyBytes: 10,
    admit: async ({ authorization }) => (authorization === 'Bearer good' ? undefined : { status: 401, detail: 'no' }),
    answer: async (body) => {
      bodies.push(body);
      return { status: 200 };
    },
  });
  const stranger = exchange(port, 'POST /tick HTTP/1.1\r\nhost: x\r\ncontent-length: 14000000\r\n\r\nonly this');
  await until('its answer', () => stranger.said().startsWith('HTTP/1.1 401 '));
  const tooMuch = exchange(
    port,
    'POST /tick HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\ncontent-length: 11\r\n\r\n01234567890',
  );
  await until('its answer', () => tooMuch.said().startsWith('HTTP/1.1 413 '));
  expect(bodies).toEqual([]);
  const welcome = exchange(
    port,
    'POST /tick HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\ncontent-length: 10\r\n\r\n0123456789',
  );
  await until('its answer', () => welcome.said().startsWith('HTTP/1.1 200 '));
  expect(bodies).toEqual(['0123456789']);
});
