import { unsettled } from '../backlog.ts';
import { Batch, type BatchRow } from '../batch.ts';
import type { Broker } from '../broker.ts';
import { holding } from '../log.ts';
import type { PushState } from '../push.ts';
import type { SubscriptionState } from '../subscription.ts';

/** How a subscription stands. Times in ISO 8601. */
export interface SubscriptionView {
  readonly name: string;
  readonly topic: string;
  readonly state: 'pulled' | 'pushed' | 'paused' | 'detached';
  /** Not settled, whether out, waiting or unseen; what its filter leaves out is not among them. */
  readonly backlog: Counted & { readonly oldestPublishTime?: string; readonly oldestAgeSeconds?: number };
  /** With whoever pulls or is pushed to. */
  readonly leased: Counted & { readonly firstExpiresAt?: string };
  /** Nacked or expired, and not due again yet. */
  readonly backingOff: Counted & { readonly firstDueAt?: string; readonly lastDueAt?: string };
  /** The keys behind whose first message others wait, and what that one waits for: `mostShown` of them at most. */
  readonly blockedKeys: readonly BlockedKey[];
  /** Of the messages that are out or were, and are not settled: how many for each number of attempts. */
  readonly attempts: Readonly<Record<string, number>>;
  readonly push?: {
    readonly endpoint: string;
    readonly window: number;
    readonly outstanding: number;
    readonly pausedUntil?: string;
    readonly failure?: { readonly at: string; readonly reason: string };
  };
}

/** Where there are more, `atLeast` says that the count stopped. */
interface Counted {
  readonly messages: number;
  readonly atLeast?: true;
}

export interface BlockedKey {
  readonly orderingKey: string;
  readonly messageId: string;
  readonly because: 'leased' | 'backing off';
  readonly until: string;
}

/** So far is counted: a look at a subscription must not hold up the others, however much waits. */
const mostCounted = 10_000;
const mostShown = 100;

export function viewOf(broker: Broker, subscription: SubscriptionState): SubscriptionView {
  const { config } = subscription;
  const now = broker.deliveries.time;
  const push = broker.pushStateOf(subscription);
  return {
    name: config.name,
    topic: config.topic,
    state: config.detached
      ? 'detached'
      : config.paused
        ? 'paused'
        : config.pushConfig?.pushEndpoint
          ? 'pushed'
          : 'pulled',
    backlog: backlogOf(broker, subscription),
    leased: leasedOf(subscription),
    backingOff: backingOffOf(broker, subscription, now),
    blockedKeys: blockedKeysOf(broker, subscription, now),
    attempts: attemptsOf(broker, subscription),
    ...(push && { push: pushOf(push) }),
  };
}

export function isoOf(at: number): string {
  return new Date(at).toISOString();
}

function counted(messages: number): Counted {
  return messages < mostCounted ? { messages } : { messages: mostCounted, atLeast: true };
}

function backlogOf({ database, clock }: Broker, subscription: SubscriptionState): SubscriptionView['backlog'] {
  const { filter, retainedSince } = subscription;
  let messages = 0;
  let oldestAt: number | undefined;
  let looks = 0;
  for (const { publishedAt, attributes } of unsettled(database, subscription)) {
    if (messages === mostCounted || ++looks > 2 * mostCounted) break;
    if (publishedAt < retainedSince || !filter(attributes)) continue;
    messages++;
    oldestAt = Math.min(oldestAt ?? Number.POSITIVE_INFINITY, publishedAt);
  }
  return {
    ...(looks > 2 * mostCounted ? { messages, atLeast: true as const } : counted(messages)),
    ...(oldestAt !== undefined && {
      oldestPublishTime: isoOf(oldestAt),
      oldestAgeSeconds: Math.max(0, Math.round((clock.now() - oldestAt) / 1000)),
    }),
  };
}

function leasedOf({ leases }: SubscriptionState): SubscriptionView['leased'] {
  let first = Number.POSITIVE_INFINITY;
  for (const { expiresAt } of leases.values()) first = Math.min(first, expiresAt);
  return { messages: leases.size, ...(leases.size > 0 && { firstExpiresAt: isoOf(first) }) };
}

function backingOffOf({ database }: Broker, { id }: SubscriptionState, now: number): SubscriptionView['backingOff'] {
  const waiting = `FROM exception INDEXED BY exception_by_due_at WHERE subscription = ${id} AND due_at > ${now} AND leased = 0`;
  const count = database.prepare(`SELECT count(*) AS count FROM (SELECT 1 ${waiting} LIMIT ${mostCounted})`).get()!;
  const ends = database.prepare(`SELECT min(due_at) AS first, max(due_at) AS last ${waiting}`).get()!;
  return {
    ...counted(count.count as number),
    ...(ends.first !== null && { firstDueAt: isoOf(ends.first as number), lastDueAt: isoOf(ends.last as number) }),
  };
}

function blockedKeysOf({ database }: Broker, subscription: SubscriptionState, now: number): readonly BlockedKey[] {
  if (!subscription.config.enableMessageOrdering) return [];
  const behind = database.prepare('SELECT 1 FROM batch WHERE topic = ? AND ordering_key = ? AND last > ? LIMIT 1');
  const blocked: BlockedKey[] = [];
  const add = (key: string, position: number, each: Omit<BlockedKey, 'orderingKey'>) => {
    if (blocked.length < mostShown && behind.get(subscription.topicId, key, position)) {
      blocked.push({ orderingKey: key, ...each });
    }
  };
  for (const { message, expiresAt } of subscription.leases.values()) {
    const { orderingKey, messageId, position } = message;
    if (orderingKey) add(orderingKey, position, { messageId, because: 'leased', until: isoOf(expiresAt) });
  }
  const waiting = database.prepare(
    `SELECT position, due_at AS dueAt, last, count, id, ordering_key FROM exception CROSS JOIN batch ON ${holding('exception.position')}
     WHERE subscription = ${subscription.id} AND due_at > ? AND leased = 0 AND ordering_key IS NOT NULL
     ORDER BY due_at LIMIT ${mostShown}`,
  );
  for (const row of waiting.all(now)) {
    const position = row.position as number;
    if (subscription.leases.has(position)) continue;
    const batch = new Batch(row as unknown as BatchRow);
    const until = isoOf(row.dueAt as number);
    add(batch.orderingKey!, position, { messageId: batch.idOf(position), because: 'backing off', until });
  }
  return blocked;
}

function attemptsOf({ database }: Broker, { id, leases }: SubscriptionState): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  const count = (attempts: number) => {
    counts[attempts] = (counts[attempts] ?? 0) + 1;
  };
  const rows = database.prepare(
    `SELECT position, attempts FROM exception INDEXED BY exception_open WHERE subscription = ${id} AND due_at IS NOT NULL LIMIT ${mostCounted}`,
  );
  for (const { position, attempts } of rows.iterate()) if (!leases.has(position as number)) count(attempts as number);
  for (const { attempt } of leases.values()) count(attempt);
  return counts;
}

function pushOf({ endpoint, window, outstanding, pausedUntil, failure }: PushState): SubscriptionView['push'] & object {
  return {
    // What follows the path may be a secret of the endpoint's.
    endpoint: endpoint.replace(/[?#].*$/, '').replace(/\/\/[^/@]*@/, '//'),
    window,
    outstanding,
    ...(pausedUntil !== undefined && { pausedUntil: isoOf(pausedUntil) }),
    ...(failure && { failure: { at: isoOf(failure.at), reason: failure.reason } }),
  };
}
