import type { Lease } from './lease.ts';
import type { PubsubMessage } from './log.ts';
import { shortName } from './names.ts';
import type { SubscriptionConfig } from './subscription-config.ts';

/**
 * What is published to a dead-letter topic: the message, and where it comes from in attributes of Google's.
 * Source: cloud.google.com/pubsub/docs/handling-failures.
 */
export function deadLetterOf({ name }: SubscriptionConfig, { message, attempt }: Lease): PubsubMessage {
  const { data, attributes, orderingKey, publishTime } = message;
  return {
    data,
    attributes: {
      ...attributes,
      CloudPubSubDeadLetterSourceDeliveryCount: String(attempt),
      CloudPubSubDeadLetterSourceSubscription: shortName(name),
      CloudPubSubDeadLetterSourceSubscriptionProject: name.split('/')[1]!,
      CloudPubSubDeadLetterSourceTopicPublishTime: publishTime,
    },
    ...(orderingKey !== undefined && { orderingKey }),
  };
}
