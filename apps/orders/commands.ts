import { command, InvalidInput, refOf, workflowId, workflows } from '@dormouse/core';
import { z } from 'zod';
import { order } from './order.ts';
import { orderPlaced } from './system.ts';

const place = command<{ sku: string; quantity: number }, { orderId: string }>({
  name: 'place',
  route: 'POST /api/orders',
  summary: 'Places an order.',
  body: z.object({ sku: z.string().min(1), quantity: z.int().min(1) }),
  output: z.object({ orderId: z.string() }),
  role: 'client',
  creates: true,
  parse({ body }) {
    const problem = (path: string, message: string) => new InvalidInput([{ path, message }]);
    let input: { sku?: unknown; quantity?: unknown };
    try {
      input = JSON.parse(body);
    } catch {
      throw problem('', 'the body is not JSON');
    }
    const { sku, quantity } = input ?? {};
    if (typeof sku !== 'string' || sku === '') throw problem('sku', 'must be a string that is not empty');
    if (!Number.isInteger(quantity) || (quantity as number) < 1)
      throw problem('quantity', 'must be a whole number from 1');
    return { sku, quantity: quantity as number };
  },
  subject: (_input, { now, random }) => ({ ref: refOf(workflows, workflowId(order.idPrefix, now, random)) }),
  async run({ sku, quantity }, step) {
    const placed = await step.workflow(order);
    placed.create({ id: placed.id, sku, quantity });
    step.publish(orderPlaced, { orderId: placed.id, sku, quantity });
    return { orderId: placed.id };
  },
});

export default [place];
