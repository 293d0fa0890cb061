import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sandbox } from '@dormouse/core';
import { createTransport } from 'nodemailer';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { verifyWebhook } from '../webhook/standard-webhook.ts';
import { startSandbox } from './sandbox.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const workflowId = 'WF-20250129-7K3QXM';
const onceAndRepeated = { effects: 1, distinctKeys: 1, repeats: 1 };

let directory: string;
let receiver: Server;
let received: { headers: IncomingHttpHeaders; body: string }[];
let receiverAnswers: number;
const started: Sandbox[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sandbox-'));
  received = [];
  receiverAnswers = 204;
  receiver = createServer(async (request, response) => {
    const body = (await request.toArray()).join('');
    received.push({ headers: request.headers, body });
    response.writeHead(receiverAnswers).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((sandbox) => sandbox.close()));
  receiver.close();
  rmSync(directory, { recursive: true });
});

async function start(options: { replyAfterMs?: number } = {}): Promise<Sandbox> {
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/webhooks/replies`;
  const sandbox = await startSandbox({ directory, webhook: { url, secret }, replyAfterMs: 20, ...options });
  started.push(sandbox);
  return sandbox;
}

async function stop(sandbox: Sandbox): Promise<void> {
  started.splice(started.indexOf(sandbox), 1);
  await sandbox.close();
}

function submit(
  sandbox: Pick<Sandbox, 'environment'>,
  changes: { key?: string; reply?: string; pdf?: string } = {},
): Promise<Response> {
  const { key = 'k1', reply = 'accept', pdf = '%PDF-1.7 letter' } = changes;
  const url = new URL('/counterparties/submissions', sandbox.environment.CASEWORK_COUNTERPARTY_URL);
  url.search = new URLSearchParams({
    ...{ workflowId, letterId: 'letter-1', reference: `${workflowId}/letter-1`, merchant: '星巴克, "Ltd"' },
    ...{ amountMinor: '1230', currency: 'EUR', reply },
  }).toString();
  const headers = { 'content-type': 'application/pdf', 'idempotency-key': key };
  return fetch(url, { method: 'POST', body: pdf, headers });
}

function sms(sandbox: Pick<Sandbox, 'environment'>, key: string | undefined, body: unknown): Promise<Response> {
  const headers = { 'content-type': 'application/json', ...(key === undefined ? {} : { 'x-idempotency-key': key }) };
  const url = `${sandbox.environment.CASEWORK_SMS_URL}/sms/messages`;
  return fetch(url, { method: 'POST', body: JSON.stringify(body), headers });
}

/** @param signal with which its sender gives up. Default: he does not */
function mail(sandbox: Sandbox, key: string, text: string, signal?: AbortSignal): Promise<unknown> {
  const transport = createTransport({ url: sandbox.environment.CASEWORK_SMTP_URL! });
  const headers = { 'X-Idempotency-Key': key };
  return transport.sendMail({
    from: 'casework@example.org',
    to: 'ada@example.org',
    subject: 'Grüße <b>',
    text,
    headers,
    ...(signal && { signal }),
  });
}

async function records(sandbox: Sandbox, query = ''): Promise<ReturnType<typeof JSON.parse>> {
  return (await sandbox.handle(new Request(`http://console/sandbox/api/records${query}`))).json();
}

function fault(sandbox: Sandbox, body: unknown): Promise<Response> {
  return sandbox.handle(new Request('http://console/sandbox/faults', { method: 'PUT', body: JSON.stringify(body) }));
}

test('the environment names every outside interface, and the ports are those listened on', async () => {
  const sandbox = await start();
  const { CASEWORK_BANK_URL, CASEWORK_SMTP_URL, CASEWORK_WEBHOOK_SECRET } = sandbox.environment;
  expect(sandbox.ports).toEqual([Number(new URL(CASEWORK_BANK_URL!).port), Number(new URL(CASEWORK_SMTP_URL!).port)]);
  expect(CASEWORK_WEBHOOK_SECRET).toBe(secret);
});

test('the bank gives the sample statement of an account, and has no others', async () => {
  const { CASEWORK_BANK_URL } = (await start()).environment;
  const ledger = await fetch(`${CASEWORK_BANK_URL}/bank/accounts/ledger-5000/statements?from=2024-01-01&to=2024-12-31`);
  const file = new URL('../samples/ledger.json', import.meta.url);
  expect(await ledger.text()).toBe(readFileSync(file, 'utf8'));
  expect(ledger.headers.get('content-type')).toBe('application/json');

  const unknown = await fetch(`${CASEWORK_BANK_URL}/bank/accounts/no%2Fbody%/statements?from=2024-01-01&to=2024-12-31`);
  expect([unknown.status, unknown.headers.get('content-type')]).toEqual([404, 'application/problem+json']);
  const undated = await fetch(`${CASEWORK_BANK_URL}/bank/accounts/ledger-5000/statements?from=yesterday`);
  expect(undated.status).toBe(400);
  expect((await fetch(`${CASEWORK_BANK_URL}/`)).status).toBe(404);
});

test('a letter is answered once, by a webhook that can be verified', async () => {
  const sandbox = await start();
  const answer = await submit(sandbox, { reply: 'reject' });
  expect(answer.status).toBe(202);
  const { submissionId } = (await answer.json()) as { submissionId: string };
  await expect.poll(async () => (await records(sandbox)).counts.answer.effects).toBe(1);

  expect(received).toHaveLength(1);
  const { headers, body } = received[0]!;
  const id = headers['webhook-id'] as string;
  const timestamp = headers['webhook-timestamp'] as string;
  const signature = headers['webhook-signature'] as string;
  expect(verifyWebhook({ id, timestamp, signature, body, secret, now: Date.now() })).toEqual({ ok: true });
  expect(id).toBe(`msg_${submissionId}`);
  expect(JSON.parse(body)).toEqual({
    type: 'dispute.answered',
    timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
    data: {
      workflowId,
      letterId: 'letter-1',
      reference: `${workflowId}/letter-1`,
      merchant: '星巴克, "Ltd"',
      decision: 'rejected',
      amountMinor: 1230,
      currency: 'EUR',
    },
  });
});

test('the same letter under the same key is taken once and answered alike, another one is refused', async () => {
  const sandbox = await start({ replyAfterMs: 60_000 });
  const answers = await Promise.all([submit(sandbox), submit(sandbox), submit(sandbox)]);
  const bodies = await Promise.all(answers.map((answer) => answer.text()));
  expect(new Set(bodies).size).toBe(1);
  expect((await submit(sandbox, { pdf: '%PDF-1.7 another' })).status).toBe(422);
  const { counts, pendingAnswers } = await records(sandbox);
  expect(counts.submission).toEqual({ effects: 1, distinctKeys: 1, repeats: 2 });
  expect(pendingAnswers).toHaveLength(1);
});

test('a silent counterparty does not answer', async () => {
  const sandbox = await start();
  await submit(sandbox, { key: 'k1', reply: 'silent' });
  await submit(sandbox, { key: 'k2' });
  await expect.poll(async () => (await records(sandbox)).counts.answer.effects).toBe(1);
  expect(await records(sandbox)).toMatchObject({ pendingAnswers: [], counts: { submission: { effects: 2 } } });
});

test('an answer that is not taken is repeated with the same id and body until it is', async () => {
  const sandbox = await start();
  receiverAnswers = 503;
  await submit(sandbox);
  await expect.poll(async () => (await records(sandbox)).pendingAnswers[0].lastError).toContain('answered 503');
  receiverAnswers = 200;
  await expect.poll(async () => (await records(sandbox)).counts.answer.effects).toBe(1);
  expect(received.length).toBeGreaterThan(1);
  expect(new Set(received.map(({ headers, body }) => `${headers['webhook-id']} ${body}`)).size).toBe(1);
});

test('an answer that was pending when the sandbox stopped comes after it is started again, once', async () => {
  const first = await start({ replyAfterMs: 60_000 });
  await submit(first);
  await stop(first);
  expect(received).toHaveLength(0);
  const second = await start({ replyAfterMs: 0 });
  await expect.poll(async () => (await records(second)).counts.answer.effects).toBe(1);
  await stop(second);
  const third = await start();
  expect(await records(third)).toMatchObject({ pendingAnswers: [], counts: { answer: { effects: 1 } } });
  expect(received).toHaveLength(1);
});

test('a malformed submission is refused with all that is wrong with it', async () => {
  const { CASEWORK_COUNTERPARTY_URL } = (await start()).environment;
  const url = `${CASEWORK_COUNTERPARTY_URL}/counterparties/submissions?merchant=M&reply=maybe&amountMinor=-1`;
  const answer = await fetch(url, { method: 'POST', body: 'no pdf' });
  expect(answer.status).toBe(400);
  const { detail } = (await answer.json()) as { detail: string };
  expect(detail.split('; ')).toEqual([
    'header Idempotency-Key is missing',
    'query parameter workflowId is missing',
    'query parameter letterId is missing',
    'query parameter reference is missing',
    'query parameter currency must be an ISO 4217 code',
    'query parameter amountMinor must be a number',
    'query parameter reply must be one of accept, reject, silent',
    'the body must be a PDF with Content-Type application/pdf',
  ]);
});

test('a short message is taken once for its key', async () => {
  const sandbox = await start();
  const message = { to: '+491701234567', text: `Your case ${workflowId} is closed.` };
  expect((await sms(sandbox, 'k1', message)).status).toBe(202);
  expect(await (await sms(sandbox, 'k1', message)).json()).toEqual(await (await sms(sandbox, 'k1', message)).json());
  expect((await sms(sandbox, 'k1', { ...message, text: 'other' })).status).toBe(422);
  expect((await sms(sandbox, undefined, message)).status).toBe(400);
  expect((await sms(sandbox, 'k2', { to: '0170', text: 'x' })).status).toBe(400);
  expect((await sms(sandbox, 'k3', { ...message, text: 'x'.repeat(70_000) })).status).toBe(413);
  expect((await records(sandbox)).counts.sms).toEqual({ effects: 1, distinctKeys: 1, repeats: 2 });
});

test('a mail is taken once for its key, whatever its Date header says', async () => {
  const sandbox = await start();
  await mail(sandbox, `${workflowId}:closed`, 'Dear Ada, …');
  await mail(sandbox, `${workflowId}:closed`, 'Dear Ada, …');
  await expect(mail(sandbox, `${workflowId}:closed`, 'Dear Bob, …')).rejects.toMatchObject({ responseCode: 554 });
  const { counts, items } = await records(sandbox, `?workflow=${workflowId}`);
  expect(counts.mail).toEqual({ effects: 1, distinctKeys: 1, repeats: 1 });
  expect(items[0]).toMatchObject({
    ...{ key: `${workflowId}:closed`, workflowId, from: 'casework@example.org', to: ['ada@example.org'] },
    ...{ subject: 'Grüße <b>', text: 'Dear Ada, …' },
  });
});

test('records can be seen of one workflow only', async () => {
  const sandbox = await start({ replyAfterMs: 60_000 });
  await submit(sandbox);
  await sms(sandbox, 'k1', { to: '+491701234567', text: 'About WF-20250130-OTHER1' });
  const { counts, items, pendingAnswers } = await records(sandbox, '?workflow=WF-20250130-OTHER1');
  expect([counts.sms.effects, counts.submission.effects, items.length, pendingAnswers.length]).toEqual([1, 0, 1, 0]);
});

test('a refusal leaves no effect; a lost answer leaves one, and the repeat makes no second', async () => {
  const sandbox = await start({ replyAfterMs: 60_000 });
  await fault(sandbox, { target: 'counterparties', mode: 'status', status: 429, times: 1 });
  expect((await submit(sandbox)).status).toBe(429);
  expect((await records(sandbox)).counts.submission.effects).toBe(0);

  await fault(sandbox, { target: 'counterparties', mode: 'reset', times: 1 });
  await expect(submit(sandbox)).rejects.toThrow();
  await fault(sandbox, { target: 'counterparties', mode: 'malformed', times: 1 });
  await expect((await submit(sandbox)).json()).rejects.toThrow();
  expect((await submit(sandbox)).status).toBe(202);
  expect((await records(sandbox)).counts.submission).toEqual({ effects: 1, distinctKeys: 1, repeats: 2 });
});

test('a hanging bank answers nothing until the sandbox closes', async () => {
  const sandbox = await start();
  await fault(sandbox, { target: 'bank', mode: 'hang', times: 1 });
  const url = `${sandbox.environment.CASEWORK_BANK_URL}/bank/accounts/ledger-5000/statements?from=2024-01-01&to=2024-12-31`;
  const answer = fetch(url).catch(() => 'cut off');
  await expect.poll(async () => (await records(sandbox)).faults).toEqual([]);
  await stop(sandbox);
  expect(await answer).toBe('cut off');
});

test('what was answered before kill -9 is not done again after it', async () => {
  const webhook = { url: 'http://127.0.0.1:9/', secret };
  const script = `
    import { startSandbox } from ${JSON.stringify(new URL('./sandbox.ts', import.meta.url))};
    console.log(JSON.stringify((await startSandbox(${JSON.stringify({ directory, webhook })})).environment));
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const environment = JSON.parse(line.toString()) as Sandbox['environment'];
  const [answer] = await Promise.all([
    submit({ environment }),
    sms({ environment }, 'k1', { to: '+491701234567', text: 'x' }),
  ]);
  const { submissionId } = (await answer.json()) as { submissionId: string };
  child.kill('SIGKILL');
  await once(child, 'exit');

  const sandbox = await start();
  expect(await (await submit(sandbox)).json()).toEqual({ submissionId });
  await sms(sandbox, 'k1', { to: '+491701234567', text: 'x' });
  await expect.poll(async () => (await records(sandbox)).counts.answer.effects).toBe(1);
  const { counts } = await records(sandbox);
  expect([counts.submission, counts.sms]).toEqual([onceAndRepeated, onceAndRepeated]);
});

test('mail meets faults too', async () => {
  const sandbox = await start();
  const text = 'Dear Ada, …';
  await fault(sandbox, { target: 'mail', mode: 'status', times: 1 });
  await expect(mail(sandbox, 'k1', text)).rejects.toMatchObject({ responseCode: 451 });
  expect((await records(sandbox)).counts.mail.effects).toBe(0);
  for (const mode of ['reset', 'malformed']) {
    await fault(sandbox, { target: 'mail', mode, times: 1 });
    await expect(mail(sandbox, 'k1', text), mode).rejects.toThrow();
  }
  await fault(sandbox, { target: 'mail', mode: 'hang', times: 1 });
  const giving = new AbortController();
  const hanging = mail(sandbox, 'k1', text, giving.signal);
  await expect.poll(async () => (await records(sandbox)).counts.mail.repeats).toBe(2);
  giving.abort();
  await expect(hanging).rejects.toThrow();
  await mail(sandbox, 'k1', text);
  expect((await records(sandbox)).counts.mail).toEqual({ effects: 1, distinctKeys: 1, repeats: 3 });
});

test('faults can be listed and taken back, and a bad one is refused', async () => {
  const sandbox = await start();
  expect((await fault(sandbox, { target: 'bank', mode: 'status' })).status).toBe(200);
  expect((await records(sandbox)).faults).toEqual([{ target: 'bank', mode: 'status' }]);
  const cleared = await sandbox.handle(new Request('http://console/sandbox/faults', { method: 'DELETE' }));
  expect(await cleared.json()).toEqual({ faults: [] });
  const bad = await fault(sandbox, { target: 'bank', mode: 'explode' });
  expect([bad.status, bad.headers.get('content-type')]).toEqual([400, 'application/problem+json']);
});

test('the page shows what came, escapes it and runs no script', async () => {
  const sandbox = await start();
  await submit(sandbox);
  await sms(sandbox, 'k<1>', { to: '+491701234567', text: '<script>alert("x")</script> & more' });
  await expect.poll(async () => (await records(sandbox)).counts.answer.effects).toBe(1);
  const page = await sandbox.handle(new Request('http://console/sandbox'));
  const html = await page.text();
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-/);
  expect(html).not.toContain('<script');
  expect(html).toContain('&#60;script&#62;alert(&#34;x&#34;)&#60;/script&#62; &#38; more');
  expect(html).toContain('k&#60;1&#62;');
  expect(html).toContain('星巴克, &#34;Ltd&#34;: accepted');
  expect(html).toContain('EUR 12.30');
  const strange = await sandbox.handle(new Request('http://console/sandbox?workflow=<img>'));
  expect(await strange.text()).toContain('Of &#60;img&#62;.');
  expect((await sandbox.handle(new Request('http://console/sandbox/nowhere'))).status).toBe(404);
});

test('a letter that is withdrawn is not answered, also not after a restart, and who never had it says so', async () => {
  const first = await start({ replyAfterMs: 3_600_000 });
  await submit(first);
  const withdraw = (sandbox: Sandbox, letterId: string) => {
    const url = new URL('/counterparties/withdrawals', sandbox.environment.CASEWORK_COUNTERPARTY_URL);
    url.search = new URLSearchParams({ workflowId, letterId, merchant: 'Corner Café' }).toString();
    return fetch(url, { method: 'POST', headers: { 'idempotency-key': `${letterId} withdrawal` } });
  };
  expect((await records(first)).pendingAnswers).toHaveLength(1);
  expect((await withdraw(first, 'letter-1')).status).toBe(202);
  expect((await withdraw(first, 'letter-2')).status).toBe(404);
  expect((await records(first)).pendingAnswers).toEqual([]);
  await stop(first);

  const second = await start();
  expect((await records(second)).pendingAnswers).toEqual([]);
  expect((await withdraw(second, 'letter-1')).status).toBe(202);
  expect((await records(second)).counts).toMatchObject({ withdrawal: onceAndRepeated, answer: { effects: 0 } });
});
