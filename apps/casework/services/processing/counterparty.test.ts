import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sandbox } from '@dormouse/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LetterSubmission, submitLetter, withdrawLetter } from '../../outside/counterparty.ts';
import { startSandbox } from '../../sandbox/sandbox.ts';

const directory = mkdtempSync(join(tmpdir(), 'counterparty-'));
let sandbox: Sandbox;
let url: string;

beforeAll(async () => {
  const webhook = { url: 'http://127.0.0.1:9/', secret: 'whsec_c2VjcmV0' };
  sandbox = await startSandbox({ directory, webhook, replyAfterMs: 60_000 });
  url = sandbox.environment.CASEWORK_COUNTERPARTY_URL!;
});
afterAll(async () => {
  await sandbox.close();
  rmSync(directory, { recursive: true });
});

function letter(changes: Partial<LetterSubmission> = {}): LetterSubmission {
  const workflowId = 'WF-20250129-7K3QXM';
  return {
    ...{ pdf: new TextEncoder().encode('%PDF-1.7 …'), merchant: '星巴克 & "Söhne", 100% ?#', letterId: 'letter-1' },
    ...{ workflowId, reference: `${workflowId}/letter-1`, amountMinor: 1230, currency: 'EUR', ...changes },
  };
}

async function fault(mode: string): Promise<void> {
  const body = JSON.stringify({ target: 'counterparties', mode, times: 1 });
  await sandbox.handle(new Request('http://console/sandbox/faults', { method: 'PUT', body }));
}

test('a letter arrives with all that identifies it', async () => {
  const { submissionId } = await submitLetter({ url }, letter({ reply: 'reject' }), { idempotencyKey: 'k1' });
  const records = await sandbox.handle(new Request('http://console/sandbox/api/records'));
  const { items } = (await records.json()) as { items: unknown[] };
  const { pdf, ...identity } = letter({ reply: 'reject' });
  expect(items[0]).toMatchObject({ key: 'k1', submissionId, bytes: pdf.length, ...identity });
});

test('a letter handed in again after its answer was lost gets the answer it would have had', async () => {
  const first = await submitLetter({ url }, letter(), { idempotencyKey: 'k2' });
  await fault('reset');
  await expect(submitLetter({ url }, letter(), { idempotencyKey: 'k2' })).rejects.toMatchObject({ permanent: false });
  expect(await submitLetter({ url }, letter(), { idempotencyKey: 'k2' })).toEqual(first);
});

test('an answer that makes no sense is worth another try; a key used for another letter is permanent', async () => {
  await fault('malformed');
  await expect(submitLetter({ url }, letter(), { idempotencyKey: 'k3' })).rejects.toMatchObject({
    permanent: false,
    message: `counterparty at ${url} answered without a submissionId in JSON; try again later`,
  });
  const another = letter({ amountMinor: 1 });
  await expect(submitLetter({ url }, another, { idempotencyKey: 'k3' })).rejects.toMatchObject({ permanent: true });
});

test('a letter is withdrawn, also twice; one that never came is none to withdraw', async () => {
  const { merchant, workflowId } = letter();
  await submitLetter({ url }, letter({ letterId: 'letter-9' }), { idempotencyKey: 'k9' });
  const withdraw = (letterId: string) =>
    withdrawLetter({ url }, { merchant, workflowId, letterId }, { idempotencyKey: `${letterId} withdrawal` });
  expect(await withdraw('letter-9')).toBe(true);
  expect(await withdraw('letter-9')).toBe(true);
  expect(await withdraw('letter-10')).toBe(false);
  await fault('reset');
  await expect(withdraw('letter-9')).rejects.toMatchObject({ permanent: false });
});
