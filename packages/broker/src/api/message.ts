import { BrokerError } from '../broker-error.ts';
import type { Delivery } from '../deliveries.ts';
import type { Lease } from '../lease.ts';
import type { PubsubMessage } from '../log.ts';
import type { SubscriptionState } from '../subscription.ts';
import type { Json } from '../wire/json.ts';

/** As publishers send it: what is default may be absent. */
export type PublishedMessage = Partial<PubsubMessage>;

/** google.pubsub.v1 ReceivedMessage, without what is default: so it is written as it is. */
export function receivedMessage(subscription: SubscriptionState, lease: Lease): Json {
  const { data, attributes, messageId, publishTime, orderingKey } = lease.message;
  const sent: Record<string, unknown> = { messageId, publishTime };
  if (data !== '') sent.data = data;
  for (const _key in attributes) {
    sent.attributes = attributes;
    break;
  }
  if (orderingKey !== undefined) sent.orderingKey = orderingKey;
  const received: Record<string, unknown> = { ackId: ackIdOf(subscription, lease), message: sent };
  if (subscription.config.deadLetterPolicy) received.deliveryAttempt = lease.attempt;
  return received;
}

/**
 * Opaque to clients; it names the delivery, and is good for no other subscription and for nothing after a seek. No two deliveries have
 * the same, also of a message that came again with its key, uncounted: clients keep what they have by it. Plain, since to write and read it
 * in base64 takes 0.45 µs more of each message, a twentieth of what pulling and acking it costs.
 */
function ackIdOf({ id, seeks }: SubscriptionState, { message, attempt, serial }: Lease): string {
  const unique = serial === undefined ? '' : `-${serial.toString(36)}`;
  return `${id}-${seeks}-${message.position}-${attempt}${unique}`;
}

/** A delivery and the ack id that a client has for it. */
export interface NamedDelivery extends Delivery {
  readonly ackId: string;
}

/** What an ack id names; undefined where it is of a delivery before a seek. @throws BrokerError INVALID_ARGUMENT where it is none of this subscription */
export function deliveryOf({ id, seeks, config }: SubscriptionState, ackId: string): NamedDelivery | undefined {
  const named = /^(\d+)-(\d+)-(\d{1,15})-(\d+)(?:-\w+)?$/.exec(ackId);
  if (!named || Number(named[1]) !== id) {
    const shown = ackId.length > 100 ? `${ackId.slice(0, 100)}…` : ackId;
    throw new BrokerError('INVALID_ARGUMENT', `"${shown}" is no ack id of subscription "${config.name}"`);
  }
  if (Number(named[2]) !== seeks) return undefined;
  return { position: Number(named[3]), attempt: Number(named[4]), ackId };
}
