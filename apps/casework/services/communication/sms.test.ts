import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sandbox } from '@dormouse/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startSandbox } from '../../sandbox/sandbox.ts';
import { sendSms } from './sms.ts';

const directory = mkdtempSync(join(tmpdir(), 'sms-'));
const message = { to: '+491701234567', text: 'Your case WF-20250129-7K3QXM is closed. 🍕' };
let sandbox: Sandbox;
let url: string;

beforeAll(async () => {
  sandbox = await startSandbox({ directory, webhook: { url: 'http://127.0.0.1:9/', secret: 'whsec_c2VjcmV0' } });
  url = sandbox.environment.CASEWORK_SMS_URL!;
});
afterAll(async () => {
  await sandbox.close();
  rmSync(directory, { recursive: true });
});

test('a short message sent twice under one key is one message', async () => {
  await sendSms({ url }, message, { idempotencyKey: 'k1' });
  await sendSms({ url }, message, { idempotencyKey: 'k1' });
  const records = await sandbox.handle(new Request('http://console/sandbox/api/records'));
  const { counts, items } = (await records.json()) as { counts: { sms: unknown }; items: unknown[] };
  expect(counts.sms).toEqual({ effects: 1, distinctKeys: 1, repeats: 1 });
  expect(items).toMatchObject([{ key: 'k1', workflowId: 'WF-20250129-7K3QXM', ...message }]);
});

test('a number the gateway refuses is permanent, and not in the message', async () => {
  const sending = sendSms({ url }, { ...message, to: '0170 1234567' }, { idempotencyKey: 'k2' });
  await expect(sending).rejects.toMatchObject({
    permanent: true,
    message: `SMS gateway at ${url} answered 400; the same request will not be taken, correct it or the configuration`,
  });
});
