import { durationSeconds } from './duration.ts';
import type { Order } from './order.ts';
import type { PushPlan } from './pubsub-client.ts';
import { rawFilter, wireAttempts } from './raw-dead-letter.ts';
import { deadLetter } from './system-topics.ts';

/** What of a system its plan is made from: what its file and its services declare. */
export interface DeclaredSystem {
  readonly system: string;
  readonly topics: readonly { readonly name: string }[];
  readonly services: readonly {
    readonly name: string;
    readonly subscriptions: readonly DeclaredSubscription[];
  }[];
}

export interface DeclaredSubscription {
  readonly name: string;
  readonly topic: string;
  readonly ackDeadlineMs: number;
  readonly order?: Order;
  /** False where the reader is no Dormouse endpoint and lives by the wire's own policy. */
  readonly dormouse: boolean;
}

/**
 * What a system needs of a Pub/Sub server, wherever that runs. Names are short: a client knows its project. In the order of the
 * declarations, so the same system gives the same plan.
 */
export interface Plan {
  readonly topics: readonly TopicPlan[];
  readonly subscriptions: readonly SubscriptionPlan[];
}

export interface TopicPlan {
  readonly name: string;
}

/** Fields as in google.pubsub.v1 Subscription, but for short names. Durations as in the wire's JSON: `"10s"`. */
export interface SubscriptionPlan {
  readonly name: string;
  /** Whose handler it is pushed to. */
  readonly service: string;
  readonly topic: string;
  readonly pushConfig: PushPlan;
  readonly ackDeadlineSeconds: number;
  readonly retryPolicy: { readonly minimumBackoff: string; readonly maximumBackoff: string };
  /** Where the wire sends what was brought so often, and never settled. */
  readonly deadLetterPolicy?: { readonly topic: string; readonly maxDeliveryAttempts: number };
  /** Messages with an ordering key come one at a time. */
  readonly enableMessageOrdering: boolean;
  readonly filter: string;
  /** Without a time to live: it never expires. Google's default is 31 days without a subscriber. */
  readonly expirationPolicy: Readonly<Record<never, never>>;
  /** How long what is not settled is kept. */
  readonly messageRetentionDuration: string;
}

export interface PlanOptions {
  /** Where the pushes to a service go, and by whose token. */
  readonly pushOf: (service: string) => PushPlan;
  /**
   * How long what is not settled is kept. Default 31 days, the longest that Pub/Sub has; its own default is 7, and so is the longest that its emulator
   * takes. Source: google.pubsub.v1 Subscription.message_retention_duration.
   */
  readonly retentionMs?: number | undefined;
}

export const longestRetentionMs = 31 * 86_400_000;

export function planOf(
  { topics, services }: DeclaredSystem,
  { pushOf, retentionMs = longestRetentionMs }: PlanOptions,
): Plan {
  // Where nobody would record what dies, it is better brought for ever.
  const isNet = services.some(({ subscriptions }) =>
    subscriptions.some(({ topic, dormouse }) => dormouse && topic === deadLetter.name),
  );
  const net = { topic: deadLetter.name, maxDeliveryAttempts: wireAttempts };
  return {
    topics: topics.map(({ name }) => ({ name })),
    subscriptions: services.flatMap((service) =>
      service.subscriptions.map(
        ({ name, topic, ackDeadlineMs, order }): SubscriptionPlan => ({
          name,
          service: service.name,
          topic,
          pushConfig: pushOf(service.name),
          ackDeadlineSeconds: ackDeadlineMs / 1000,
          retryPolicy: { minimumBackoff: '10s', maximumBackoff: '600s' },
          // What dies in the dead letters' own topic has nowhere to go.
          ...(isNet && topic !== deadLetter.name && { deadLetterPolicy: net }),
          enableMessageOrdering: order !== undefined,
          filter: filterOf(name, topic),
          expirationPolicy: {},
          messageRetentionDuration: durationSeconds(retentionMs),
        }),
      ),
    ),
  };
}

/** Whether it was made by a system: it takes what is addressed to it. Others' subscriptions are theirs. */
export function isOfSystem(subscription: string, filter = ''): boolean {
  return filter.includes(isTo(subscription));
}

/** Addressed messages are for the one they name. */
function filterOf(subscription: string, topic: string): string {
  const own = `NOT attributes:dormouse-to OR ${isTo(subscription)}`;
  return topic === deadLetter.name ? `${own} OR ${rawFilter}` : own;
}

function isTo(subscription: string): string {
  return `attributes.dormouse-to = "${subscription}"`;
}
