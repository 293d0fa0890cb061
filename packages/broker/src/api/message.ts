import { BrokerError } from '../broker-error.ts';
import type { Delivery } from '../deliveries.ts';
import type { PubsubMessage } from '../log.ts';
import type { Lease, SubscriptionState } from '../subscription.ts';
import type { Json } from '../wire/json.ts';

/** As publishers send it: what is default may be absent. */
export type PublishedMessage = Partial<PubsubMessage>;

/** google.pubsub.v1 ReceivedMessage. */
export function receivedMessage(subscription: SubscriptionState, { message, attempt }: Lease): Json {
  const { position, publishedAt, ...rest } = message;
  return {
    ackId: ackIdOf(subscription, position, attempt),
    message: rest,
    ...(subscription.config.deadLetterPolicy && { deliveryAttempt: attempt }),
  };
}

/** Opaque to clients; it names the delivery, and is good for no other subscription and for nothing after a seek. */
function ackIdOf({ id, seeks }: SubscriptionState, position: number, attempt: number): string {
  return Buffer.from(`ack ${id} ${seeks} ${position} ${attempt}`).toString('base64url');
}

/** What an ack id names; undefined where it is of a delivery before a seek. @throws BrokerError INVALID_ARGUMENT where it is none of this subscription */
export function deliveryOf({ id, seeks, config }: SubscriptionState, ackId: string): Delivery | undefined {
  const [kind, ...numbers] = Buffer.from(ackId, 'base64url').toString().split(' ');
  const [subscription, sought, position, attempt] = numbers.map(Number);
  if (kind !== 'ack' || numbers.length !== 4 || subscription !== id || !Number.isSafeInteger(position)) {
    const shown = ackId.length > 100 ? `${ackId.slice(0, 100)}…` : ackId;
    throw new BrokerError('INVALID_ARGUMENT', `"${shown}" is no ack id of subscription "${config.name}"`);
  }
  return sought === seeks ? { position: position!, attempt: attempt! } : undefined;
}
