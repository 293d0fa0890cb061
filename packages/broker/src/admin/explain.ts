import type { Broker } from '../broker.ts';
import { BrokerError } from '../broker-error.ts';
import { failingClause } from '../filter.ts';
import type { StoredMessage } from '../log.ts';
import type { Settlement } from '../settlements.ts';
import type { SubscriptionState } from '../subscription.ts';
import { activeUdfs } from '../transform/message-transform.ts';
import { findMessage } from './message-search.ts';
import { isoOf } from './subscription-view.ts';

/** What became of a message, on each subscription of its topic. Times in ISO 8601. */
export interface Explanation {
  readonly messageId: string;
  /** Absent where the message itself is gone, or its topic. */
  readonly topic?: string;
  readonly publishTime?: string;
  readonly orderingKey?: string;
  /** False: all have settled it and it was removed; what is told is remembered of the last that were settled. */
  readonly inLog: boolean;
  readonly subscriptions: readonly Fate[];
}

export interface Fate {
  readonly subscription: string;
  readonly state:
    | 'filtered out'
    | 'not retained'
    | 'acked'
    | 'dead-lettered'
    | 'settled'
    | 'leased'
    | 'waiting'
    | 'ready';
  /** In words: why, and what it waits for. */
  readonly because: string;
  /** Deliveries so far, where that is known. */
  readonly attempts?: number;
  /** When it was settled, where that is remembered. */
  readonly at?: string;
  /** What it waits for ends then. */
  readonly until?: string;
}

type Told = Omit<Fate, 'subscription'>;

/** A lease on disk that nobody has holds nothing back: its message was given back unseen. */
const dueAt = 'CASE WHEN leased = 1 AND due_at IS NOT NULL THEN 0 ELSE due_at END';

/** @throws BrokerError NOT_FOUND where nothing is known of it */
export async function explain(broker: Broker, messageId: string): Promise<Explanation> {
  // What was acked is on disk then, and what filters leave out is behind the cursors.
  await broker.oldestUnsettledAt();
  const settled = broker.deliveries.settlements.of(messageId);
  const found = findMessage(broker.database, messageId);
  if (!found) {
    if (settled.length > 0) return gone(messageId, settled);
    throw new BrokerError(
      'NOT_FOUND',
      `there is no message "${messageId}" in the log: it never was here, or all that had it settled it and it was removed`,
    );
  }
  const { message, topicId } = found;
  const topic = broker.topics.find(({ name }) => broker.topicId(name) === topicId)?.name;
  const readers = broker.subscriptions.filter((each) => each.topicId === topicId);
  return {
    messageId,
    ...(topic !== undefined && { topic }),
    publishTime: message.publishTime,
    ...(message.orderingKey !== undefined && { orderingKey: message.orderingKey }),
    inLog: true,
    subscriptions: inOrder(
      readers.map((subscription) => ({
        subscription: subscription.config.name,
        ...fateOf(broker, subscription, message, settled),
      })),
    ),
  };
}

function gone(messageId: string, settled: readonly Settlement[]): Explanation {
  const last = new Map(settled.toSorted((a, b) => a.at - b.at).map((each) => [each.subscription, each]));
  return {
    messageId,
    inLog: false,
    subscriptions: inOrder([...last.values()].map((each) => ({ subscription: each.subscription, ...settledAs(each) }))),
  };
}

function inOrder(fates: readonly Fate[]): readonly Fate[] {
  return fates.toSorted((a, b) => (a.subscription < b.subscription ? -1 : 1));
}

function fateOf(
  broker: Broker,
  subscription: SubscriptionState,
  message: StoredMessage,
  settlements: readonly Settlement[],
): Told {
  const { position } = message;
  const { config, cursor, filter, seeks, begin } = subscription;
  const lease = subscription.leases.get(position);
  if (lease) {
    const until = isoOf(lease.expiresAt);
    const whose = config.pushConfig?.pushEndpoint ? 'it is being pushed' : 'whoever pulled it has it';
    return {
      state: 'leased',
      because: `${whose}, until its lease expires at the latest`,
      attempts: lease.attempt,
      until,
    };
  }
  const clause = failingClause(filter, message.attributes);
  if (clause !== undefined) return { state: 'filtered out', because: `its attributes do not fit ${clause}` };
  const row = broker.database
    .prepare(`SELECT attempts, ${dueAt} AS dueAt FROM exception WHERE subscription = ? AND position = ?`)
    .get(subscription.id, position) as { attempts: number; dueAt: number | null } | undefined;
  if (position <= cursor || row?.dueAt === null) {
    const remembered = settlements.findLast((each) => each.subscription === config.name && each.seeks === seeks);
    if (remembered) return settledAs(remembered, activeUdfs(config.messageTransforms).length > 0);
    if (position <= begin && seeks === 0)
      return { state: 'settled', because: 'it was published before the subscription was made' };
    if (message.publishedAt < subscription.retainedSince) return notRetained;
    const how = seeks > 0 ? 'it was acked or dead-lettered, or a seek passed over it' : 'it was acked or dead-lettered';
    return { state: 'settled', because: `${how}; which and when is not remembered` };
  }
  if (message.publishedAt < subscription.retainedSince) return notRetained;
  return { ...waitsFor(broker, subscription, message, row), ...(row && { attempts: row.attempts }) };
}

const notRetained: Told = {
  state: 'not retained',
  because: 'nobody settled it within the retention of the subscription',
};

function settledAs({ attempt, at, forwardedAs }: Settlement, hasUdfs = false): Told {
  const told = { attempts: attempt, at: isoOf(at) };
  if (forwardedAs === undefined)
    return {
      state: 'acked',
      because: hasUdfs ? 'it was acked, or its functions filtered it out' : 'it was acked',
      ...told,
    };
  return { state: 'dead-lettered', because: `its attempts were spent; it went on as message ${forwardedAs}`, ...told };
}

/** Of what is neither out nor settled: what comes first before it can be. */
function waitsFor(
  broker: Broker,
  subscription: SubscriptionState,
  message: StoredMessage,
  row: { readonly dueAt: number | null } | undefined,
): Told {
  const { config } = subscription;
  const now = broker.deliveries.time;
  if (config.paused) return { state: 'waiting', because: 'the subscription is paused' };
  const dueAt = row?.dueAt ?? 0;
  if (dueAt > now)
    return {
      state: 'waiting',
      because: 'it was nacked or its lease expired, and its backoff runs',
      until: isoOf(dueAt),
    };
  const ahead = aheadOf(broker, subscription, message);
  if (ahead) return ahead;
  if (!config.pushConfig?.pushEndpoint) {
    return { state: 'ready', because: subscription.waiting.size > 0 ? 'it is about to be given out' : 'nobody pulls' };
  }
  const push = broker.pushStateOf(subscription);
  if (!push) return { state: 'waiting', because: 'nobody serves the endpoint of the subscription' };
  if (push.pausedUntil !== undefined) {
    const because = `pushes of the subscription fail (${push.failure?.reason ?? 'lately'}), and none is made before its backoff ends`;
    return { state: 'waiting', because, until: isoOf(push.pausedUntil) };
  }
  const because =
    push.outstanding >= push.window
      ? `${push.outstanding} pushes are outstanding, and the window is ${push.window}`
      : 'others wait before it, or its service is not awake yet';
  return { state: 'waiting', because };
}

/** The message of its ordering key that must be settled first; undefined where there is none. */
function aheadOf({ deliveries }: Broker, subscription: SubscriptionState, message: StoredMessage): Told | undefined {
  const { orderingKey, position } = message;
  if (!subscription.config.enableMessageOrdering || !orderingKey) return undefined;
  const first = subscription.firstOf(orderingKey);
  if (!first || first.position >= position) return undefined;
  const { messageId, dueAt } = first;
  const lease = subscription.leases.get(first.position);
  const until = lease ? lease.expiresAt : dueAt !== null && dueAt > deliveries.time ? dueAt : undefined;
  const its = lease ? 'which is leased' : until === undefined ? 'which waits itself' : 'whose backoff runs';
  return {
    state: 'waiting',
    because: `message ${messageId} of its ordering key "${orderingKey}" comes first, ${its}`,
    ...(until !== undefined && { until: isoOf(until) }),
  };
}
