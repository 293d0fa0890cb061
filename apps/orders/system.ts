import { system, topic } from '@dormouse/core';
import * as z from 'zod';

export const orderPlaced = topic('order.placed', {
  schema: z.object({ orderId: z.string(), sku: z.string(), quantity: z.int().positive() }),
});

export default system('orders', {
  topics: [orderPlaced],
  services: {
    stock: './services/stock.ts',
    billing: './services/billing.ts',
    // No TypeScript, no Dormouse: any command that listens on PORT and takes Pub/Sub pushes.
    tally: { command: ['node', 'services/tally.js'], subscriptions: [{ topic: orderPlaced }] },
  },
  commands: './commands.ts',
  simulation: './scenarios/simulation.ts',
});
