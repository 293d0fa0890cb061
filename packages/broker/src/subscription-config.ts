import { BrokerError, badRequest } from './broker-error.ts';
import { FilterError, parseFilter } from './filter.ts';
import type { MessageTransform } from './transform/message-transform.ts';
import { durationOf } from './wire/time.ts';

/** google.pubsub.v1 Subscription: what acts here, and what is only kept. Durations as in its JSON: `"10s"`. */
export interface SubscriptionConfig {
  readonly name: string;
  readonly topic: string;
  readonly pushConfig?: PushConfig;
  readonly ackDeadlineSeconds?: number;
  readonly retainAckedMessages?: boolean;
  readonly messageRetentionDuration?: string;
  readonly enableMessageOrdering?: boolean;
  readonly enableExactlyOnceDelivery?: boolean;
  readonly filter?: string;
  readonly deadLetterPolicy?: { readonly deadLetterTopic?: string; readonly maxDeliveryAttempts?: number };
  readonly retryPolicy?: { readonly minimumBackoff?: string; readonly maximumBackoff?: string };
  readonly labels?: Readonly<Record<string, string>>;
  readonly expirationPolicy?: { readonly ttl?: string };
  readonly messageTransforms?: readonly MessageTransform[];
  readonly detached?: boolean;
  /** Nobody is given anything. Not of Pub/Sub, and not shown by it. */
  readonly paused?: boolean;
  readonly bigqueryConfig?: unknown;
  readonly cloudStorageConfig?: unknown;
  readonly bigtableConfig?: unknown;
}

export interface PushConfig {
  readonly pushEndpoint?: string;
  readonly oidcToken?: { readonly serviceAccountEmail?: string; readonly audience?: string };
  readonly attributes?: Readonly<Record<string, string>>;
  /** The data alone is the body. Default: the envelope of Pub/Sub around it. */
  readonly noWrapper?: { readonly writeMetadata?: boolean };
}

const dayMs = 86_400_000;

/** Source: google.pubsub.v1 Subscription, Topic. What no text of Google's bounds from above is bounded by what it may keep. */
export const bounds = {
  ackDeadlineSeconds: { least: 10, most: 600, unset: 10 },
  backoffMs: { least: 0, most: 600_000 },
  retentionMs: { least: 600_000, most: 31 * dayMs, unset: 7 * dayMs },
  ttlMs: { least: dayMs, most: 3_650 * dayMs, unset: 31 * dayMs },
  attempts: { least: 5, most: 100, unset: 5 },
};

/** `"1.5s"` in milliseconds; undefined where it is not given. */
export function millisecondsOf(duration: string | undefined): number | undefined {
  const parts = duration === undefined ? undefined : durationOf(duration);
  return parts && Number(parts.seconds) * 1000 + parts.nanos / 1e6;
}

/** How long what nobody acked is kept. */
export function retentionOf({ messageRetentionDuration }: SubscriptionConfig): number {
  return millisecondsOf(messageRetentionDuration) ?? bounds.retentionMs.unset;
}

/** How long it may be idle; undefined where it never expires. */
export function ttlOf({ expirationPolicy }: SubscriptionConfig): number | undefined {
  return expirationPolicy ? millisecondsOf(expirationPolicy.ttl) : bounds.ttlMs.unset;
}

/** As it is kept, with what Google fills in. @throws BrokerError INVALID_ARGUMENT naming field, value and remedy */
export function completedConfig(config: SubscriptionConfig): SubscriptionConfig {
  const { name, filter = '', ackDeadlineSeconds, retryPolicy, deadLetterPolicy } = config;
  try {
    parseFilter(filter);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new BrokerError('INVALID_ARGUMENT', `subscription "${name}": filter: ${error.message}`, { cause: error });
  }
  const { ackDeadlineSeconds: deadline, attempts, backoffMs, retentionMs, ttlMs } = bounds;
  const seconds = ackDeadlineSeconds || deadline.unset;
  if (seconds < deadline.least || seconds > deadline.most) {
    throw badRequest(
      'ack_deadline_seconds',
      `subscription "${name}": ackDeadlineSeconds must be 10 to 600, got ${seconds}`,
    );
  }
  checkDuration(config, 'messageRetentionDuration', config.messageRetentionDuration, retentionMs);
  checkDuration(config, 'expirationPolicy.ttl', config.expirationPolicy?.ttl, ttlMs);
  checkDuration(config, 'retryPolicy.minimumBackoff', retryPolicy?.minimumBackoff, backoffMs);
  checkDuration(config, 'retryPolicy.maximumBackoff', retryPolicy?.maximumBackoff, backoffMs);
  const ttl = ttlOf(config);
  if (ttl !== undefined && config.expirationPolicy?.ttl && ttl < retentionOf(config)) {
    throw badRequest(
      'expiration_policy',
      `subscription "${name}": expirationPolicy.ttl ${config.expirationPolicy.ttl} is less than its message retention of ${retentionOf(config) / 1000}s; raise the one or lower messageRetentionDuration`,
    );
  }
  if (config.enableExactlyOnceDelivery && config.pushConfig?.pushEndpoint) {
    throw badRequest(
      'enable_exactly_once_delivery',
      `subscription "${name}": exactly-once delivery is for pulling; a push cannot have it, take pushConfig or enableExactlyOnceDelivery away`,
    );
  }
  return {
    ...config,
    ackDeadlineSeconds: seconds,
    ...(retryPolicy && { retryPolicy: completedRetry(name, retryPolicy) }),
    ...(deadLetterPolicy && { deadLetterPolicy: completedDeadLetter(name, deadLetterPolicy, attempts) }),
  };
}

function checkDuration(
  { name }: SubscriptionConfig,
  field: string,
  value: string | undefined,
  { least, most }: { readonly least: number; readonly most: number },
): void {
  const ms = millisecondsOf(value);
  if (value === undefined || (ms !== undefined && ms >= least && ms <= most)) return;
  throw badRequest(
    snake(field),
    `subscription "${name}": ${field} must be "${least / 1000}s" to "${most / 1000}s", got "${value}"`,
  );
}

function completedRetry(
  name: string,
  { minimumBackoff = '10s', maximumBackoff = '600s' }: NonNullable<SubscriptionConfig['retryPolicy']>,
) {
  if (millisecondsOf(minimumBackoff)! > millisecondsOf(maximumBackoff)!) {
    throw badRequest(
      'retry_policy',
      `subscription "${name}": retryPolicy.minimumBackoff ${minimumBackoff} is more than maximumBackoff ${maximumBackoff}`,
    );
  }
  return { minimumBackoff, maximumBackoff };
}

function completedDeadLetter(
  name: string,
  { deadLetterTopic = '', maxDeliveryAttempts }: NonNullable<SubscriptionConfig['deadLetterPolicy']>,
  { least, most, unset }: { readonly least: number; readonly most: number; readonly unset: number },
) {
  const attempts = maxDeliveryAttempts || unset;
  if (attempts < least || attempts > most) {
    throw badRequest(
      'dead_letter_policy.max_delivery_attempts',
      `subscription "${name}": deadLetterPolicy.maxDeliveryAttempts must be ${least} to ${most}, got ${attempts}`,
    );
  }
  return { deadLetterTopic, maxDeliveryAttempts: attempts };
}

function snake(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
