import { fileURLToPath } from 'node:url';
import { Story } from '@dormouse/testing';
import { expect, test } from 'vitest';

const systemFile = fileURLToPath(new URL('../system.ts', import.meta.url));

test('an order is placed: the stock is reserved, an invoice issued, and the plain JavaScript service told', async () => {
  await using story = await Story.start({ systemFile });
  const { orderId } = await story.post<{ orderId: string }>('/api/orders', { sku: 'tea', quantity: 3 });

  const documents = async (collection: string) =>
    (await story.get<{ documents: unknown[] }>(`/api/workflows/${orderId}/documents/${collection}`)).documents;
  expect(await documents('reservations')).toEqual([{ reserved: 3 }]);
  expect(await documents('invoices')).toEqual([{ amountMinor: 5997 }]);
  const { topics } = await story.get<{ topics: { subscriptions: { name: string; backlog: number }[] }[] }>(
    '/api/topics',
  );
  const backlogs = topics.flatMap(({ subscriptions }) => subscriptions.map(({ backlog }) => backlog));
  expect(backlogs).toEqual([0, 0, 0]);
});
