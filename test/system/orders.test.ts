// Real: the quickstart app on the same host, with one service that knows nothing of Dormouse.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
const tallyFile = join(folder, 'tally.txt');
let system: RunningSystem;
beforeAll(async () => {
  system = await RunningSystem.start({
    args: [join(root, 'apps/orders/system.ts'), '--idle', '500ms'],
    environment: { ORDERS_TALLY_FILE: tallyFile },
  });
});
afterAll(() => {
  system?.destroy();
});

async function place(order: unknown): Promise<string> {
  const response = await system.fetch('/api/orders', { method: 'POST', body: JSON.stringify(order) });
  expect(response.status).toBe(201);
  return ((await response.json()) as { orderId: string }).orderId;
}

function tally(): string[] {
  return existsSync(tallyFile) ? readFileSync(tallyFile, 'utf8').split('\n').filter(Boolean) : [];
}

test('an order reaches its three consumers, the plain JavaScript one as well', async () => {
  const id = await place({ sku: 'tea', quantity: 3 });
  await until('the tally counts it', () => tally().includes('tea 3'));
  await until('stock is reserved and an invoice issued', async () => {
    const documents = async (collection: string) =>
      (await system.get<{ documents: unknown[] }>(`/api/workflows/${id}/documents/${collection}`)).documents;
    return (await documents('reservations')).length === 1 && (await documents('invoices')).length === 1;
  });
});

test('the plain JavaScript service is retired when idle and woken again; nothing is counted twice or lost', async () => {
  const asleep = () =>
    until('tally asleep', async () => {
      const status = (await system.services()).find(({ name }) => name === 'tally')!;
      return status.state === 'asleep' && status.lastExit && status;
    });
  const before = await asleep();
  await until('its process is gone', () => system.program.family.find('tally.js').length === 0);
  await Promise.all(Array.from({ length: 5 }, (_, index) => place({ sku: `cup-${index}`, quantity: 1 })));
  await until('the tally counts them', () => tally().filter((line) => line.startsWith('cup-')).length >= 5);
  const after = await asleep();
  expect(after.wakes).toBe(before.wakes + 1);
  expect(after.lastExit?.reason).toBe('retired');
  expect(
    tally()
      .filter((line) => line.startsWith('cup-'))
      .toSorted(),
  ).toEqual(['cup-0 1', 'cup-1 1', 'cup-2 1', 'cup-3 1', 'cup-4 1']);
});

test('a malformed order: 400 with the problem', async () => {
  const response = await system.fetch('/api/orders', { method: 'POST', body: '{"sku": ""}' });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ problems: [{ path: 'sku' }] });
});

test('Ctrl-C stops the plain JavaScript service too', async () => {
  await place({ sku: 'last', quantity: 1 });
  await until('the tally counts it', () => tally().includes('last 1'));
  expect((await system.stop()).code).toBe(0);
  expect(system.program.family.members()).toEqual([]);
});
