import type { Lease } from '@dormouse/broker';
import type { Delivery } from '@dormouse/core';

/** A lease of the broker as the endpoint takes it. */
export function toDelivery(subscription: string, { message }: Lease): Delivery {
  const { attributes, data, messageId, publishTime, orderingKey } = message;
  return {
    subscription: subscription.slice(subscription.lastIndexOf('/') + 1),
    message: {
      topic: attributes['ce-type'] ?? '',
      attributes,
      data,
      ...(orderingKey !== undefined && { orderingKey }),
    },
    messageId,
    publishTime,
  };
}
