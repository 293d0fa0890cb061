import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sandbox } from '@dormouse/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startSandbox } from '../../sandbox/sandbox.ts';
import { fetchBankStatement } from './bank.ts';

const directory = mkdtempSync(join(tmpdir(), 'bank-'));
const period = { from: '2024-01-01', to: '2024-12-31' };
let sandbox: Sandbox;
let url: string;

beforeAll(async () => {
  const webhook = { url: 'http://127.0.0.1:9/', secret: 'whsec_c2VjcmV0' };
  sandbox = await startSandbox({ directory, webhook });
  url = sandbox.environment.CASEWORK_BANK_URL!;
});
afterAll(async () => {
  await sandbox.close();
  rmSync(directory, { recursive: true });
});

test('a statement is fetched as the bank has it', async () => {
  const text = await fetchBankStatement({ url }, { accountId: 'ledger-5000', ...period });
  expect(JSON.parse(text)).toMatchObject({ accountId: 'ledger-5000', lines: { length: 5000 } });
});

test('an unknown account is permanent, and its number is not in the message', async () => {
  const fetching = fetchBankStatement({ url }, { accountId: 'DE00/private', ...period });
  await expect(fetching).rejects.toMatchObject({
    permanent: true,
    message: `bank at ${url} answered 404; the same request will not be taken, correct it or the configuration`,
  });
});

test.each([
  ['status', 'answered 503'],
  ['reset', 'could not be reached: ECONNRESET'],
])('a bank out of order (%s) is worth another try', async (mode, message) => {
  const body = JSON.stringify({ target: 'bank', mode, times: 1 });
  await sandbox.handle(new Request('http://console/sandbox/faults', { method: 'PUT', body }));
  const fetching = fetchBankStatement({ url }, { accountId: 'ledger-5000', ...period });
  await expect(fetching).rejects.toMatchObject({ permanent: false, message: expect.stringContaining(message) });
});
