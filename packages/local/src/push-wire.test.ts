import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '@dormouse/core';
import { expect, onTestFinished, test } from 'vitest';
import { PushLine, PushServer } from './push-wire.ts';

type Push = Endpoint['push'];

async function serve(push: Push): Promise<{ server: PushServer; line: PushLine }> {
  const { path, line } = lineTo();
  const server = new PushServer({ push });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => server.close());
  return { server, line };
}

function lineTo(): { path: string; line: PushLine } {
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-pushes-'));
  const path = join(folder, 'instance');
  const line = new PushLine(path);
  onTestFinished(() => {
    line.close();
    rmSync(folder, { recursive: true });
  });
  return { path, line };
}

function content(body: string, authorization?: string) {
  return { headers: { ...(authorization && { authorization }) }, body: Buffer.from(body) };
}

test('a push is what its HTTP request would be: method, token and body, answered by a status', async () => {
  const pushed: unknown[] = [];
  const { line } = await serve(async (request) => {
    pushed.push(request);
    return { status: 503, detail: 'not now' };
  });
  const body = '{"message":{"data":"w4Q=","attributes":{"a":"ä\\n"}}}\n';
  expect(await line.send(content(body, 'Bearer x'))).toBe(503);
  expect(pushed).toEqual([{ method: 'POST', authorization: 'Bearer x', body }]);
});

test('a push waits for no other to be answered', async () => {
  const slow = Promise.withResolvers<void>();
  const { line } = await serve(async ({ body }) => {
    if (body === 'slow') await slow.promise;
    return { status: body === 'slow' ? 204 : 200 };
  });
  const first = line.send(content('slow'));
  expect(await line.send(content('fast'))).toBe(200);
  slow.resolve();
  expect(await first).toBe(204);
});

test('a push to where nobody listens was seen by nobody', async () => {
  const { line } = lineTo();
  await expect(line.send(content(''))).rejects.toMatchObject({ unseen: true });
});

test('an instance that closes answers what it holds first', async () => {
  const held = Promise.withResolvers<void>();
  const seen = Promise.withResolvers<void>();
  const { server, line } = await serve(async () => {
    seen.resolve();
    await held.promise;
    return { status: 204 };
  });
  const answer = line.send(content(''));
  await seen.promise;
  const closed = server.close();
  held.resolve();
  expect(await answer).toBe(204);
  await closed;
});

test('an instance that closes waits for no handler whose host is gone', async () => {
  const seen = Promise.withResolvers<void>();
  const { server, line } = await serve(() => {
    seen.resolve();
    return new Promise(() => {});
  });
  const lost = expect(line.send(content(''))).rejects.toMatchObject({ unseen: false });
  await seen.promise;
  line.close();
  await lost;
  await server.close();
});
