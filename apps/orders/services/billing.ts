import { on, service } from '@dormouse/core';
import { invoice } from '../order.ts';
import { orderPlaced } from '../system.ts';

const priceMinor = 1999;

export default service('billing', [
  on(orderPlaced, async ({ data }, step) => {
    const issued = await step.document(invoice, 'first');
    issued.create({ amountMinor: data.quantity * priceMinor });
  }),
]);
