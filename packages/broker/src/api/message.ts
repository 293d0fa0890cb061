import { BrokerError } from '../broker-error.ts';
import type { PubsubMessage } from '../log.ts';
import type { Lease, SubscriptionState } from '../subscription.ts';
import type { Json } from '../wire/json.ts';

/** As publishers send it: what is default may be absent. */
export type PublishedMessage = Partial<PubsubMessage>;

/** google.pubsub.v1 ReceivedMessage. */
export function receivedMessage(subscription: SubscriptionState, { message, attempt }: Lease): Json {
  const { position, ...rest } = message;
  return { ackId: ackIdOf(subscription, position, attempt), message: rest };
}

/** Opaque to clients; it names the delivery, and is good for no other subscription. */
function ackIdOf({ id }: SubscriptionState, position: number, attempt: number): string {
  return Buffer.from(`ack ${id} ${position} ${attempt}`).toString('base64url');
}

/** The position of the message an ack id names. @throws BrokerError INVALID_ARGUMENT where it is none of this subscription */
export function positionOf({ id, config }: SubscriptionState, ackId: string): number {
  const [, subscription, position] = /^ack (\d+) (\d+) \d+$/.exec(Buffer.from(ackId, 'base64url').toString()) ?? [];
  if (Number(subscription) !== id) {
    const shown = ackId.length > 100 ? `${ackId.slice(0, 100)}…` : ackId;
    throw new BrokerError('INVALID_ARGUMENT', `"${shown}" is no ack id of subscription "${config.name}"`);
  }
  return Number(position);
}
