import type { Broker } from '../broker.ts';
import { BrokerError, badRequest } from '../broker-error.ts';
import type { SubscriptionState } from '../subscription.ts';
import type { Json } from '../wire/json.ts';
import type { Call } from './api.ts';
import { positionOf, receivedMessage } from './message.ts';
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
      const leases = await broker.leaseOrWait(subscription, most, waitMs, signal, { maxBytes: maxPulledBytes });
      if (subscription.ended) pulled(broker, name);
      return { receivedMessages: leases.map((lease) => receivedMessage(subscription, lease)) } as Json;
    },

    async acknowledge({ subscription = '', ackIds = [] }: { subscription?: string; ackIds?: string[] }): Promise<Json> {
      acknowledge(broker, broker.subscription(subscription), checkedIds(ackIds));
      return {};
    },

    async modifyAckDeadline(request: {
      subscription?: string;
      ackIds?: string[];
      ackDeadlineSeconds?: number;
    }): Promise<Json> {
      const { subscription: name = '', ackIds = [], ackDeadlineSeconds = 0 } = request;
      const subscription = broker.subscription(name);
      await modifyDeadline(broker, subscription, checkedIds(ackIds), ackDeadlineSeconds);
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

export function acknowledge(broker: Broker, subscription: SubscriptionState, ackIds: readonly string[]): void {
  const positions = ackIds.map((ackId) => positionOf(subscription, ackId));
  for (const position of positions) broker.ack(subscription, position);
}

/** Zero seconds is a nack. */
export async function modifyDeadline(
  broker: Broker,
  subscription: SubscriptionState,
  ackIds: readonly string[],
  seconds: number,
): Promise<void> {
  if (seconds < 0 || seconds > 600) {
    throw badRequest('ack_deadline_seconds', `ackDeadlineSeconds must be 0 to 600, got ${seconds}`);
  }
  const positions = ackIds.map((ackId) => positionOf(subscription, ackId));
  if (seconds === 0) await broker.nack(subscription, positions);
  else for (const position of positions) broker.extend(subscription, position, seconds * 1000);
}

function checkedIds(ackIds: readonly string[]): readonly string[] {
  if (ackIds.length === 0) throw badRequest('ack_ids', 'ackIds must be a list that is not empty');
  const bytes = ackIds.reduce((sum, { length }) => sum + length, 0);
  if (bytes > maxRequestBytes) {
    throw badRequest('ack_ids', `ackIds have ${bytes} bytes; a request takes ${maxRequestBytes}, send several`);
  }
  return ackIds;
}
