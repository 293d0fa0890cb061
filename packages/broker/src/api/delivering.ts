import type { Broker } from '../broker.ts';
import { BrokerError, badRequest } from '../broker-error.ts';
import type { SubscriptionState } from '../subscription.ts';
import type { Json } from '../wire/json.ts';
import type { Call } from './api.ts';
import { deliveryOf, type NamedDelivery, receivedMessage } from './message.ts';
import { notYet } from './not-yet.ts';

/** A pull waits so long for the first message. Google says only that it is bounded. */
const pullWaitMs = 20_000;
const maxPulled = 1000;
/** Of one answer, and a message more; clients of gRPC take 20 MB. */
const maxPulledBytes = 8_000_000;
const maxRequestBytes = 524_288;

/** The part of google.pubsub.v1.Subscriber that moves messages. */
export function delivering(broker: Broker) {
  return {
    async pull(
      request: { subscription?: string; maxMessages?: number; returnImmediately?: boolean },
      { signal }: Call,
    ) {
      const { subscription: name = '', maxMessages = 0, returnImmediately = false } = request;
      const subscription = pulled(broker, name);
      if (maxMessages < 1) throw badRequest('max_messages', `maxMessages must be 1 or more, got ${maxMessages}`);
      const waitMs = returnImmediately ? 0 : pullWaitMs;
      const most = Math.min(maxMessages, maxPulled);
      const leases = await broker.deliveries.leaseOrWait(subscription, most, waitMs, signal, {
        maxBytes: maxPulledBytes,
      });
      if (subscription.ended) pulled(broker, name);
      return { receivedMessages: leases.map((lease) => receivedMessage(subscription, lease)) } as Json;
    },

    async acknowledge({ subscription = '', ackIds = [] }: { subscription?: string; ackIds?: string[] }): Promise<Json> {
      refuseGone(await acknowledge(broker, broker.subscription(subscription), checkedIds(ackIds)));
      return {};
    },

    async modifyAckDeadline(request: {
      subscription?: string;
      ackIds?: string[];
      ackDeadlineSeconds?: number;
    }): Promise<Json> {
      const { subscription: name = '', ackIds = [], ackDeadlineSeconds = 0 } = request;
      const subscription = broker.subscription(name);
      refuseGone(await modifyDeadline(broker, subscription, checkedIds(ackIds), ackDeadlineSeconds));
      return {};
    },
  };
}

/** A subscription that may be pulled from. @throws BrokerError where it is not there, or is for something else */
export function pulled(broker: Broker, name: string): SubscriptionState {
  const subscription = broker.subscription(name);
  const { detached, pushConfig, bigqueryConfig, cloudStorageConfig, bigtableConfig } = subscription.config;
  if (detached) throw new BrokerError('FAILED_PRECONDITION', `subscription "${name}" is detached from its topic`);
  if (pushConfig?.pushEndpoint) {
    throw new BrokerError(
      'FAILED_PRECONDITION',
      `subscription "${name}" is pushed to ${pushConfig.pushEndpoint}; it cannot be pulled from as well`,
    );
  }
  for (const [what, config] of Object.entries({ bigqueryConfig, cloudStorageConfig, bigtableConfig })) {
    if (config !== undefined) throw notYet(`subscription "${name}": exporting messages (${what})`);
  }
  return subscription;
}

/** Answers the ack ids whose lease was gone, where that counts. @throws BrokerError where one is no ack id */
export async function acknowledge(
  broker: Broker,
  subscription: SubscriptionState,
  ackIds: readonly string[],
): Promise<string[]> {
  const ids = new DeliveryIds(subscription, ackIds);
  if (subscription.isExactlyOnce) return ids.without(await broker.deliveries.ackExactly(subscription, ids.deliveries));
  for (const { position } of ids.deliveries) broker.deliveries.ack(subscription, position);
  return [];
}

/** Zero seconds is a nack. Answers as `acknowledge` does. */
export async function modifyDeadline(
  broker: Broker,
  subscription: SubscriptionState,
  ackIds: readonly string[],
  seconds: number,
): Promise<string[]> {
  if (seconds < 0 || seconds > 600) {
    throw badRequest('ack_deadline_seconds', `ackDeadlineSeconds must be 0 to 600, got ${seconds}`);
  }
  const ids = new DeliveryIds(subscription, ackIds);
  if (subscription.isExactlyOnce) {
    const gone =
      seconds === 0
        ? await broker.deliveries.nackExactly(subscription, ids.deliveries)
        : await broker.deliveries.extendExactly(subscription, ids.deliveries, seconds * 1000);
    return ids.without(gone);
  }
  const positions = ids.deliveries.map(({ position }) => position);
  if (seconds === 0) await broker.deliveries.nack(subscription, positions);
  else for (const position of positions) broker.deliveries.extend(subscription, position, seconds * 1000);
  return [];
}

/** The deliveries that a request names. */
class DeliveryIds {
  readonly deliveries: NamedDelivery[] = [];
  /** Of before a seek. */
  readonly #stale: string[] = [];

  constructor(subscription: SubscriptionState, ackIds: readonly string[]) {
    for (const ackId of new Set(ackIds)) {
      const delivery = deliveryOf(subscription, ackId);
      if (delivery) this.deliveries.push(delivery);
      else this.#stale.push(ackId);
    }
  }

  without(gone: readonly NamedDelivery[]): string[] {
    return [...this.#stale, ...gone.map(({ ackId }) => ackId)];
  }
}

/** In Google's words; clients read the metadata. */
function refuseGone(ackIds: readonly string[]): void {
  if (ackIds.length === 0) return;
  throw new BrokerError(
    'INVALID_ARGUMENT',
    'Some acknowledgement ids in the request were invalid. This could be because the acknowledgement ids have expired or the acknowledgement ids were malformed.',
    {
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
          reason: 'EXACTLY_ONCE_ACKID_FAILURE',
          domain: 'pubsub.googleapis.com',
          metadata: Object.fromEntries(ackIds.map((ackId) => [ackId, 'PERMANENT_FAILURE_INVALID_ACK_ID'])),
        },
      ],
    },
  );
}

function checkedIds(ackIds: readonly string[]): readonly string[] {
  if (ackIds.length === 0) throw badRequest('ack_ids', 'ackIds must be a list that is not empty');
  const bytes = ackIds.reduce((sum, { length }) => sum + length, 0);
  if (bytes > maxRequestBytes) {
    throw badRequest('ack_ids', `ackIds have ${bytes} bytes; a request takes ${maxRequestBytes}, send several`);
  }
  return ackIds;
}
