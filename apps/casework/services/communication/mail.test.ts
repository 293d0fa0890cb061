import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sandbox } from '@dormouse/core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startSandbox } from '../../sandbox/sandbox.ts';
import { type Mail, sendMail } from './mail.ts';

const directory = mkdtempSync(join(tmpdir(), 'mail-'));
const from = 'casework@example.org';
let sandbox: Sandbox;
let url: string;
let peer: Server | undefined;

beforeAll(async () => {
  sandbox = await startSandbox({ directory, webhook: { url: 'http://127.0.0.1:9/', secret: 'whsec_c2VjcmV0' } });
  url = sandbox.environment.CASEWORK_SMTP_URL!;
});
afterEach(() => peer?.close());
afterAll(async () => {
  await sandbox.close();
  rmSync(directory, { recursive: true });
});

function mail(changes: Partial<Mail> = {}): Mail {
  return { to: 'ada@example.org', subject: 'Your case', text: 'Dear Ada,\n\n…', ...changes };
}

async function latest(): Promise<Record<string, unknown>> {
  const records = await sandbox.handle(new Request('http://console/sandbox/api/records'));
  return ((await records.json()) as { items: Record<string, unknown>[] }).items[0]!;
}

/** A server that plays its side of an SMTP conversation and shows the client's. */
async function serve(answers: (line: string) => string | undefined): Promise<{ url: string; said: string[] }> {
  const said: string[] = [];
  peer = createServer((socket: Socket) => {
    socket.write('220 test\r\n');
    socket
      .on('error', () => undefined)
      .on('data', (data: Buffer) => {
        said.push(data.toString());
        const answer = answers(data.toString());
        if (answer !== undefined) socket.write(`${answer}\r\n`);
      });
  });
  await new Promise<void>((resolve) => peer?.listen(0, '127.0.0.1', resolve));
  return { url: `smtp://user:password@127.0.0.1:${(peer.address() as AddressInfo).port}`, said };
}

test('a mail arrives with its idempotency key, however long', async () => {
  const idempotencyKey = `WF-20250129-7K3QXM:${'x'.repeat(200)}`;
  await sendMail({ url, from }, mail({ subject: 'Grüße 星', text: 'Zeile\n\n🍕' }), { idempotencyKey });
  expect(await latest()).toMatchObject({
    ...{ key: idempotencyKey, from, to: ['ada@example.org'], subject: 'Grüße 星', text: 'Zeile\n\n🍕' },
  });
});

test('the Message-ID is made from the key: the same for the same mail', async () => {
  const answers = (line: string) =>
    /^DATA/.test(line) ? '354 go on' : /\r\n\.\r\n$/.test(line) ? '451 later' : '250 ok';
  const { url, said } = await serve((line) => (/^AUTH/.test(line) ? '235 ok' : answers(line)));
  for (const idempotencyKey of ['k1', 'k1', 'k2']) {
    await expect(sendMail({ url, from }, mail(), { idempotencyKey })).rejects.toMatchObject({ permanent: false });
  }
  const ids = said.join('').match(/(?<=^Message-ID: )<[0-9a-f]{32}@casework\.dormouse>/gim) ?? [];
  expect([ids.length, new Set(ids).size]).toEqual([3, 2]);
});

test('line ends in a subject begin no header', async () => {
  await sendMail({ url, from }, mail({ subject: 'Hello\r\nBcc: eve@example.org\r\n\r\nBody' }), {
    idempotencyKey: 'k3',
  });
  const { to, subject, text } = await latest();
  expect([to, subject, text]).toEqual([['ada@example.org'], 'Hello Bcc: eve@example.org Body', 'Dear Ada,\n\n…']);
});

test.each([
  'ada@example.org, eve@example.org',
  'ada@example.org\r\nBcc: eve@example.org',
  'Ada <ada@example.org>',
  'ada',
  '',
])('a recipient that is not one bare address is refused and not shown: %j', async (to) => {
  const sending = sendMail({ url, from }, mail({ to }), { idempotencyKey: 'k4' });
  await expect(sending).rejects.toMatchObject({
    permanent: true,
    message: `mail server at ${new URL(url).host}: the recipient is no bare mail address; correct the client's contact`,
  });
});

test.each([
  ['550 ada@example.org is unknown', true, "answered 550; the same mail will not be taken, check the client's contact"],
  ['451 greylisted ada@example.org', false, 'answered 451; try again later'],
])('a refusal of %j is permanent: %s, and shows no address and no password', async (answer, permanent, message) => {
  const { url } = await serve((line) => (/^AUTH/.test(line) ? '235 ok' : /^RCPT/.test(line) ? answer : '250 ok'));
  const error = await sendMail({ url, from }, mail(), { idempotencyKey: 'k5' }).catch((reason: Error) => reason);
  expect(error).toMatchObject({ permanent, message: `mail server at ${new URL(url).host} ${message}` });
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error)).replace(/at .*/g, '')).not.toMatch(/ada@|password/);
});

test('a server that cannot be reached or speaks no SMTP is worth another try', async () => {
  const nowhere = sendMail({ url: 'smtp://127.0.0.1:1', from }, mail(), { idempotencyKey: 'k6' });
  await expect(nowhere).rejects.toMatchObject({
    permanent: false,
    message: expect.stringContaining('127.0.0.1:1 failed'),
  });
  const { url } = await serve(() => 'nonsense');
  await expect(sendMail({ url, from }, mail(), { idempotencyKey: 'k6' })).rejects.toMatchObject({ permanent: false });
});

test('an abort ends the conversation with its own reason', async () => {
  const { url } = await serve(() => undefined);
  const controller = new AbortController();
  const reason = new Error('the step has run out of time');
  const sending = sendMail({ url, from }, mail(), { idempotencyKey: 'k7', signal: controller.signal });
  peer?.once('connection', () => controller.abort(reason));
  await expect(sending).rejects.toBe(reason);
});
