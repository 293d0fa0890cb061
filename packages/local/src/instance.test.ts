// Real: a foreign command as a process, pushed to over its port.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@dormouse/core';
import { expect, onTestFinished, test } from 'vitest';
import { Instance } from './instance.ts';

/** Answers the first request of a connection and cuts it at the second, as one that has just decided to close it. */
const oneRequestAConnection = `
import { createServer } from 'node:net';
createServer((socket) => {
  let answered = false;
  socket.on('data', () => {
    if (answered) return socket.resetAndDestroy();
    answered = true;
    socket.write('HTTP/1.1 204 No Content\\r\\n\\r\\n');
  });
  socket.on('error', () => {});
}).listen(Number(process.env.PORT), '127.0.0.1');
`;

test('a foreign command that closes its idle connections fails no push', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-instance-'));
  writeFileSync(join(folder, 'foreign.mjs'), oneRequestAConnection);
  const instance = new Instance(
    {
      name: 'foreign',
      run: { kind: 'command', command: [process.execPath, 'foreign.mjs'], folder },
      subscriptions: [],
      limits: { concurrency: 1, maxInstances: 1 },
    },
    1,
    await freePort(),
    {
      clock: systemClock,
      log: { info() {}, warn() {}, error() {} },
      idleMs: 60_000,
      socketFolder: folder,
      environment: {},
      settings: {
        system: 'test',
        stateSocketPath: '',
        stateToken: '',
        filesFolder: folder,
        pushes: { issuer: '', publicKeys: { keys: [] } },
      },
      audienceOf: () => '',
    },
    { onFree() {}, onAcked() {} },
  );
  onTestFinished(async () => {
    await instance.stop();
    rmSync(folder, { recursive: true });
  });
  await instance.run();
  const message = {
    position: 1,
    messageId: '1',
    publishTime: '2026-01-01T00:00:00Z',
    publishedAt: 0,
    data: '',
    attributes: {},
  };
  for (let push = 1; push <= 3; push++) {
    const lease = { message, attempt: 1, expiresAt: 0, deaths: 0, lane: '', hasRow: false };
    const request = {
      subscription: 'foreign.thing',
      lease,
      config: {},
      deliveryAttempt: undefined,
      authorization: undefined,
      timeoutMs: 10_000,
    };
    expect(await instance.take().push(request)).toEqual({ acked: true });
  }
});

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
