import { on, service } from '@dormouse/core';
import { reservation } from '../order.ts';
import { orderPlaced } from '../system.ts';

export default service('stock', [
  on(orderPlaced, async ({ data }, step) => {
    const reserved = await step.document(reservation, data.sku);
    reserved.create({ reserved: data.quantity });
  }),
]);
