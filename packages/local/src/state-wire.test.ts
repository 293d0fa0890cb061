import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ref, StateStore, UnitOfWork, Versioned } from '@dormouse/core';
import { expect, onTestFinished, test } from 'vitest';
import { RemoteStateStore, StateServer } from './state-wire.ts';

const nothing: UnitOfWork = { tenant: 't', reads: [], writes: [], entries: [], journal: [], publish: [] };

/** A store of which only what a test calls is there. */
async function serve(store: Partial<StateStore>, path = socketPath()): Promise<{ server: StateServer; path: string }> {
  const server = new StateServer(store as StateStore, 'secret');
  await server.listen(path);
  onTestFinished(() => server.close());
  return { server, path };
}

function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-wire-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'state');
}

function documentOf(ref: Ref, text: string): Versioned {
  return { ref, version: '1', tenant: 't', data: { text } };
}

test('answers find their calls, in whatever order they come', async () => {
  const slow = Promise.withResolvers<void>();
  const { path } = await serve({
    async get([ref]) {
      if (ref === 'slow') await slow.promise;
      return [documentOf(ref!, ref!)];
    },
  });
  const remote = new RemoteStateStore(path, 'secret');
  const first = remote.get(['slow']);
  expect(await remote.get(['fast'])).toEqual([documentOf('fast', 'fast')]);
  slow.resolve();
  expect(await first).toEqual([documentOf('slow', 'slow')]);
});

test('a value of megabytes, of characters of several bytes and with line ends in it, comes as it is', async () => {
  const text = 'ä€🐭\n\r\u2028'.repeat(300_000);
  const { path } = await serve({ get: async ([ref]) => [documentOf(ref!, text)] });
  const [found] = await new RemoteStateStore(path, 'secret').get(['large']);
  expect(found!.data!.text === text).toBe(true);
});

test('who has not the token is answered nothing', async () => {
  const asked: Ref[] = [];
  const { path } = await serve({
    async get(refs) {
      asked.push(...refs);
      return [];
    },
  });
  await expect(new RemoteStateStore(path, 'guess').get(['any'])).rejects.toThrow(/did not answer/);
  const socket = connect(path);
  socket.write('["1","get",["any"]]\nno JSON\n');
  await new Promise((resolve) => socket.once('close', resolve));
  expect(asked).toEqual([]);
});

test('calls end with the host that they asked, and the next finds the one that came after it', async () => {
  let asked = 0;
  const { server, path } = await serve({
    commit() {
      asked++;
      return new Promise(() => {});
    },
  });
  const remote = new RemoteStateStore(path, 'secret');
  const lost = remote.commit(nothing);
  const refused = expect(lost).rejects.toMatchObject({ code: 'store.unavailable' });
  await expect.poll(() => asked).toBe(1);
  server.close();
  await refused;
  await expect(remote.commit(nothing)).rejects.toMatchObject({ code: 'store.unavailable' });
  await serve({ commit: async () => ({ versions: [], unsent: [] }) }, path);
  expect(await remote.commit(nothing)).toEqual({ versions: [], unsent: [] });
});
