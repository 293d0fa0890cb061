import { BrokerError } from './broker-error.ts';
import type { SubscriptionConfig } from './subscription.ts';

type Fields = Readonly<Record<string, unknown>>;

/**
 * The fields of a google.pubsub.v1 Subscription, as JSON, that act here; others are let pass unread.
 * @throws BrokerError INVALID_ARGUMENT where one is of another kind
 */
export function readSubscription(given: unknown): Partial<Omit<SubscriptionConfig, 'name'>> {
  const fields = objectOf(given, 'subscription');
  const { ackDeadlineSeconds } = fields;
  if (ackDeadlineSeconds !== undefined && !Number.isInteger(ackDeadlineSeconds)) {
    throw refusal('ackDeadlineSeconds', 'a whole number');
  }
  const { topic, filter } = stringsOf(fields, ['topic', 'filter']);
  return present({
    topic,
    filter,
    ackDeadlineSeconds: ackDeadlineSeconds as number | undefined,
    retryPolicy:
      fields.retryPolicy === undefined
        ? undefined
        : stringsOf(objectOf(fields.retryPolicy, 'retryPolicy'), ['minimumBackoff', 'maximumBackoff']),
    pushConfig: fields.pushConfig === undefined ? undefined : readPushConfig(fields.pushConfig),
  });
}

function readPushConfig(given: unknown): NonNullable<SubscriptionConfig['pushConfig']> {
  const fields = objectOf(given, 'pushConfig');
  const oidcToken =
    fields.oidcToken === undefined
      ? undefined
      : stringsOf(objectOf(fields.oidcToken, 'oidcToken'), ['serviceAccountEmail', 'audience']);
  return present({ ...stringsOf(fields, ['pushEndpoint']), oidcToken });
}

function objectOf(value: unknown, name: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw refusal(name, 'an object');
}

function stringsOf<K extends string>(fields: Fields, names: readonly K[]): { readonly [name in K]?: string } {
  const wrong = names.find((name) => fields[name] !== undefined && typeof fields[name] !== 'string');
  if (wrong) throw refusal(wrong, 'a string');
  return present(Object.fromEntries(names.map((name) => [name, fields[name]]))) as { readonly [name in K]?: string };
}

function present<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

/** Without the value: it may be of any size and depth. */
function refusal(name: string, kind: string): BrokerError {
  return new BrokerError('INVALID_ARGUMENT', `${name} must be ${kind}`);
}
