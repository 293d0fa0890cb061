import { BrokerError } from './broker-error.ts';
import type { Database } from './database.ts';
import { deadLetterOf } from './dead-letter.ts';
import { Exceptions } from './exceptions.ts';
import { Housekeeping } from './housekeeping.ts';
import { Log, type PubsubMessage } from './log.ts';
import { checkMessages } from './message-limits.ts';
import { checkResourceName } from './names.ts';
import { Policies } from './policies.ts';
import type { SchemaSettings } from './schema/schemas.ts';
import { Snapshots } from './snapshots.ts';
import { type Lease, SubscriptionState, type Wanted } from './subscription.ts';
import { bounds, millisecondsOf, retentionOf, type SubscriptionConfig, ttlOf } from './subscription-config.ts';

/** Time as the broker needs it. */
export interface BrokerClock {
  /** Epoch milliseconds. May jump, also back. */
  now(): number;
  /** Milliseconds since a moment of no meaning. Never jumps. */
  steady(): number;
  after(durationMs: number, callback: () => void): () => void;
}

/** google.pubsub.v1 Topic: what acts here, and what is only kept. */
export interface TopicConfig {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** How long every message is kept, whoever acked it. */
  readonly messageRetentionDuration?: string;
  readonly kmsKeyName?: string;
  readonly ingestionDataSourceSettings?: unknown;
  readonly schemaSettings?: SchemaSettings;
}

interface TopicState {
  readonly id: number;
  config: TopicConfig;
  readonly subscriptions: Set<SubscriptionState>;
}

/** What a subscription has for a topic that was deleted. Source: google.pubsub.v1 Subscription.topic. */
export const deletedTopic = '_deleted-topic_';

export interface BrokerOptions {
  /** Messages that differ in this attribute take turns on every subscription, so that no burst of one starves the others. */
  readonly fairBy?: string;
  /**
   * Whether messages past their retention and subscriptions idle for too long go, and what is settled is removed, as on Google.
   * Default true; otherwise `prune` is the owner's to call, and what nobody acked is kept for ever.
   */
  readonly tidies?: boolean;
}

/** A delivery, as its ack id names it. */
export interface Delivery {
  readonly position: number;
  readonly attempt: number;
}

const alarmRetryMs = 1_000;
/** What a subscription was last used for is written down when it is so much older than what is there. */
const activeEveryMs = 3_600_000;

/**
 * Topics, subscriptions, publishing and leasing over one database.
 *
 * The registry is small and kept in memory beside its table; messages and exceptions stay on disk.
 * `onAvailable` fires when a subscription may have something to lease that it did not have before: a durable publish, a
 * backoff that ends, a lease that expires. Nothing polls.
 */
export class Broker {
  readonly #database: Database;
  readonly #clock: BrokerClock;
  /** What to add to steady time: so leases and backoffs have dates that hold over a restart, and never jump meanwhile. */
  readonly #epoch: number;
  readonly #fairBy: string | undefined;
  readonly policies: Policies;
  readonly snapshots: Snapshots;
  readonly #tidies: boolean;
  readonly #housekeeping: Housekeeping | undefined;
  /** Subscriptions that are asked again in the next turn of the loop. */
  readonly #looking = new Set<SubscriptionState>();
  /** The first seen since the start, of a message that came or waited. */
  #lane: string | undefined;
  /** Whether there were messages of more than one. */
  hasSeveralLanes = false;
  readonly #log: Log;
  readonly #topics = new Map<string, TopicState>();
  readonly #subscriptions = new Map<string, SubscriptionState>();
  readonly #alarms = new Map<SubscriptionState, { readonly at: number; readonly cancel: () => void }>();
  #flushing = false;
  #closed = false;

  onAvailable: (subscription: SubscriptionState) => void = () => {};
  /** A subscription was deleted or detached: it offers nothing any more. */
  onEnded: (subscription: SubscriptionState) => void = () => {};

  static readonly schema = [
    `CREATE TABLE topic (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, config TEXT NOT NULL) STRICT;
     CREATE TABLE subscription (
       id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, topic INTEGER NOT NULL, config TEXT NOT NULL, cursor INTEGER NOT NULL
     ) STRICT;
     ${Log.schema[0]}
     ${Exceptions.schema[0]}`,
    Log.schema[1]!,
    Exceptions.schema[1]!,
    Policies.schema,
    `${Log.schema[2]}
     ${Exceptions.schema[2]}
     ${Snapshots.schema}
     ALTER TABLE subscription ADD COLUMN seeks INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE subscription ADD COLUMN begin INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE subscription ADD COLUMN active_at INTEGER;`,
  ];

  constructor(database: Database, clock: BrokerClock, { fairBy, tidies = true }: BrokerOptions = {}) {
    database.migrate('broker', Broker.schema);
    this.#database = database;
    this.#clock = clock;
    this.#epoch = clock.now() - clock.steady();
    this.#fairBy = fairBy;
    this.#tidies = tidies;
    this.#log = new Log(database);
    this.policies = new Policies(database);
    this.snapshots = new Snapshots(database, this.#log, clock.now);
    // No backoff is longer: one that ends later was set before the machine's clock went back.
    database.prepare('UPDATE exception SET due_at = ?1 WHERE due_at > ?1').run(this.#time + bounds.backoffMs.most);
    for (const row of database.prepare('SELECT * FROM topic').all()) {
      this.#addTopic(row.id as number, JSON.parse(row.config as string));
    }
    for (const row of database.prepare('SELECT * FROM subscription').all()) {
      this.#addSubscription(row as unknown as SubscriptionRow);
    }
    this.#housekeeping = tidies ? new Housekeeping(this, clock) : undefined;
  }

  /** For what keeps tables of its own beside the broker's. */
  get database(): Database {
    return this.#database;
  }

  get clock(): BrokerClock {
    return this.#clock;
  }

  get topics(): TopicConfig[] {
    return [...this.#topics.values()].map(({ config }) => config);
  }

  get subscriptions(): SubscriptionState[] {
    return [...this.#subscriptions.values()];
  }

  topic(name: string): TopicConfig {
    return this.#topicState(name).config;
  }

  /** What is subscribed to a topic; what is detached is not. */
  subscriptionsOf(topicName: string): SubscriptionState[] {
    return [...this.#topicState(topicName).subscriptions];
  }

  subscription(name: string): SubscriptionState {
    const found = this.#subscriptions.get(name);
    if (!found) throw new BrokerError('NOT_FOUND', `there is no subscription "${name}"`);
    return found;
  }

  async createTopic(config: TopicConfig): Promise<TopicConfig> {
    checkResourceName('topics', config.name);
    this.#refuseExisting(this.#topics, config.name);
    await this.#database.write(() => {
      this.#refuseRow('topic', config.name);
      const { lastInsertRowid } = this.#database
        .prepare('INSERT INTO topic (name, config) VALUES (?, ?)')
        .run(config.name, JSON.stringify(config));
      this.#database.afterSync(() => this.#addTopic(Number(lastInsertRowid), config));
    });
    return config;
  }

  async createSubscription(config: SubscriptionConfig): Promise<SubscriptionConfig> {
    checkResourceName('subscriptions', config.name);
    this.#refuseExisting(this.#subscriptions, config.name);
    const topic = this.#topicState(config.topic);
    await this.#database.write(() => {
      this.#refuseRow('subscription', config.name);
      // Of a topic that is deleted in the same group, only its row knows it.
      this.#configOf('topic', topic.config.name);
      const cursor = this.#log.end;
      const { lastInsertRowid } = this.#database
        .prepare('INSERT INTO subscription (name, topic, config, cursor, begin, active_at) VALUES (?, ?, ?, ?, ?, ?)')
        .run(config.name, topic.id, JSON.stringify(config), cursor, cursor, this.#clock.now());
      const row = {
        id: Number(lastInsertRowid),
        topic: topic.id,
        config: JSON.stringify(config),
        cursor,
        begin: cursor,
        seeks: 0,
      };
      this.#database.afterSync(() => this.#addSubscription(row));
    });
    return config;
  }

  /** Changes what a topic is kept with. `change` sees what the changes before it left. */
  async updateTopic(name: string, change: (config: TopicConfig) => TopicConfig): Promise<TopicConfig> {
    const topic = this.#topicState(name);
    return this.#database.write(() => {
      const config = change(this.#configOf('topic', name));
      this.#database.prepare('UPDATE topic SET config = ? WHERE id = ?').run(JSON.stringify(config), topic.id);
      this.#database.afterSync(() => {
        topic.config = config;
      });
      return config;
    });
  }

  /** Its subscriptions stay, with what they have not settled, and say that their topic was deleted. */
  async deleteTopic(name: string): Promise<void> {
    const topic = this.#topicState(name);
    await this.#database.write(() => {
      this.#configOf('topic', name);
      this.#database.prepare('DELETE FROM topic WHERE id = ?').run(topic.id);
      this.#database
        .prepare("UPDATE subscription SET config = json_set(config, '$.topic', ?) WHERE topic = ?")
        .run(deletedTopic, topic.id);
      this.policies.forget(name);
      this.#database.afterSync(() => {
        this.#topics.delete(name);
        for (const each of topic.subscriptions) each.config = { ...each.config, topic: deletedTopic };
      });
    });
  }

  /** Changes what a subscription is kept with; its topic, filter and name stay. `change` sees what the changes before it left. */
  async updateSubscription(
    name: string,
    change: (config: SubscriptionConfig) => SubscriptionConfig,
  ): Promise<SubscriptionConfig> {
    const subscription = this.subscription(name);
    return this.#database.write(() => {
      const config = change(this.#configOf('subscription', name));
      this.#database
        .prepare('UPDATE subscription SET config = ? WHERE id = ?')
        .run(JSON.stringify(config), subscription.id);
      this.#database.afterSync(() => {
        subscription.config = config;
        this.#tell(subscription);
      });
      return config;
    });
  }

  /** Takes a subscription away, with all that it had not settled. */
  async deleteSubscription(name: string): Promise<void> {
    const subscription = this.subscription(name);
    await this.#database.write(() => {
      this.#configOf('subscription', name);
      this.#database.prepare('DELETE FROM subscription WHERE id = ?').run(subscription.id);
      this.#database.prepare('DELETE FROM exception WHERE subscription = ?').run(subscription.id);
      this.policies.forget(name);
      this.#database.afterSync(() => this.#endSubscription(subscription));
    });
  }

  /** Drops what it has not settled, for good; it stays as a name that offers nothing. */
  async detachSubscription(name: string): Promise<void> {
    const subscription = this.subscription(name);
    if (subscription.config.detached) return;
    await this.#database.write(() => {
      const config = { ...this.#configOf<SubscriptionConfig>('subscription', name), detached: true };
      const cursor = this.#log.end;
      // Of no topic, so that no message is ever its.
      this.#database
        .prepare('UPDATE subscription SET topic = 0, cursor = ?, config = ? WHERE id = ?')
        .run(cursor, JSON.stringify(config), subscription.id);
      this.#database.prepare('DELETE FROM exception WHERE subscription = ?').run(subscription.id);
      this.#database.afterSync(() => {
        this.#endSubscription(subscription);
        const { id, begin, seeks } = subscription;
        this.#addSubscription({ id, topic: 0, config: JSON.stringify(config), cursor, begin, seeks });
      });
    });
  }

  /** Answers when the messages are durable. */
  publish(topicName: string, messages: readonly PubsubMessage[]): Promise<string[]> {
    this.#topicState(topicName);
    checkMessages(messages);
    return this.#database.write(() => messages.map((message) => this.append(topicName, message)));
  }

  hasTopic(name: string): boolean {
    return this.#topics.has(name);
  }

  /** Only inside a write: adds one message to a topic's log, in the transaction of whatever else that write does. */
  append(topicName: string, message: PubsubMessage): string {
    const topic = this.#topicState(topicName);
    const lane = (this.#fairBy !== undefined && message.attributes[this.#fairBy]) || '';
    const { position, messageId } = this.#log.append(topic.id, lane, message, this.#clock.now());
    this.#database.afterSync(() => {
      this.#log.end = Math.max(this.#log.end, position);
      this.#noticeLane(lane);
      for (const subscription of topic.subscriptions) subscription.notice(lane, position);
      for (const subscription of topic.subscriptions) this.#tell(subscription);
      this.#housekeeping?.notice();
    });
    return messageId;
  }

  /**
   * Leases what can be had now, up to `max`. Where a lease has a `written`, its message is to be shown to nobody before that
   * has resolved; where it rejects, the lease has ended.
   */
  lease(
    subscription: SubscriptionState,
    max: number,
    durationMs = subscription.ackDeadlineMs,
    wanted?: Wanted,
  ): Lease[] {
    subscription.activeAt = this.#clock.now();
    const all = subscription.lease(max, this.#time, durationMs, wanted);
    this.#lookOn(subscription);
    if (all.length === 0) return all;
    this.#setAlarm(subscription);
    // Delivered that often already, and the process died before its last failure was written down.
    const [spent, leases] = partition(all, (lease) => this.#isSpent(subscription, lease.attempt - 1));
    if (spent.length > 0) void this.#setAside(subscription, spent);
    if (leases.length > 0 && subscription.writesLeases) {
      const written = this.#database.write(() => subscription.writeLeases(leases));
      written.catch(() => {
        for (const { message } of leases) subscription.release(message.position);
      });
      for (const lease of leases) lease.written = written;
    }
    return leases;
  }

  /** False where the lease is gone. Written down with the next group, soon after. */
  ack(subscription: SubscriptionState, position: number): boolean {
    const held = subscription.ack(position);
    if (held && !this.#flushing) {
      this.#flushing = true;
      this.#database
        .write(() => {
          this.#flushing = false;
          for (const each of this.#subscriptions.values()) each.flush();
        })
        .then(() => this.#housekeeping?.notice())
        // An ack that could not be written comes again after a restart, as an ordinary ack may.
        .catch(() => {
          this.#flushing = false;
        });
      // With another of its key.
      if (subscription.waiting.size > 0 && subscription.hasCandidates) this.#tell(subscription);
    }
    return held;
  }

  /** Acks that are durable when they are answered, and hold for good. Answers those whose lease was gone, which are not acked. */
  async ackExactly(subscription: SubscriptionState, deliveries: readonly Delivery[]): Promise<Delivery[]> {
    const acked: Lease[] = [];
    try {
      const gone = await this.#database.write(() => {
        const gone: Delivery[] = [];
        for (const delivery of deliveries) {
          const lease = subscription.held(delivery.position, delivery.attempt, this.#time);
          if (!lease) {
            gone.push(delivery);
            continue;
          }
          subscription.ackNow(lease);
          acked.push(lease);
        }
        subscription.flush();
        return gone;
      });
      this.#housekeeping?.notice();
      if (subscription.hasCandidates) this.#tell(subscription);
      return gone;
    } catch (error) {
      for (const lease of acked) subscription.undoAck(lease);
      throw error;
    }
  }

  /** @param died whoever had them died meanwhile */
  async nack(subscription: SubscriptionState, positions: readonly number[], died = false): Promise<void> {
    const leases = positions.flatMap((position) => subscription.leases.get(position) ?? []);
    await this.#setAside(subscription, leases, died);
  }

  /** Nacks as durably as `ackExactly` acks. Answers those whose lease was gone. */
  async nackExactly(subscription: SubscriptionState, deliveries: readonly Delivery[]): Promise<Delivery[]> {
    const [held, gone] = this.#held(subscription, deliveries);
    await this.#setAside(subscription, held);
    return gone;
  }

  /** Nobody saw the message: it may be leased again at once, and the attempt does not count. */
  release(subscription: SubscriptionState, position: number): void {
    subscription.release(position);
    if (subscription.waiting.size > 0) this.#tell(subscription);
  }

  /** Lets a lease run until so long from now. A lease that is gone stays gone. */
  extend(subscription: SubscriptionState, position: number, durationMs: number): void {
    const lease = subscription.leases.get(position);
    if (!lease) return;
    lease.expiresAt = this.#time + durationMs;
    this.#setAlarm(subscription);
  }

  /** Extends as durably as `ackExactly` acks. Answers those whose lease was gone. */
  async extendExactly(
    subscription: SubscriptionState,
    deliveries: readonly Delivery[],
    durationMs: number,
  ): Promise<Delivery[]> {
    const [held, gone] = this.#held(subscription, deliveries);
    const expiresAt = this.#time + durationMs;
    await this.#database.write(() => {
      for (const lease of held) {
        if (subscription.leases.get(lease.message.position) !== lease || lease.acking) continue;
        subscription.writeExtension(lease, expiresAt);
        lease.expiresAt = expiresAt;
      }
    });
    this.#setAlarm(subscription);
    return gone;
  }

  /**
   * Everything published before a time is acked, and everything since is not, as far as it is retained: by the topic, or by the
   * subscription for what was acked. What was delivered before has no say any more.
   */
  async seekTime(name: string, time: number): Promise<void> {
    await this.#seek(name, (subscription, now) => {
      const cursor = this.#log.lastBefore(time);
      const from = this.#retainedFrom(subscription, now);
      if (from === undefined) subscription.seek(Math.max(cursor, subscription.cursor), 'same', this.#time);
      else subscription.seek(Math.max(cursor, from), 'none', this.#time);
    });
  }

  /** As the snapshot has it. @throws BrokerError NOT_FOUND, or INVALID_ARGUMENT where it is of another topic */
  async seekSnapshot(name: string, snapshot: string): Promise<void> {
    await this.#seek(name, (subscription) => this.snapshots.seek(snapshot, subscription, this.#time));
  }

  /**
   * Leases as `lease` does, and where there is nothing waits for it, so long at most. Stops waiting when the caller is gone
   * or the subscription is.
   */
  async leaseOrWait(
    subscription: SubscriptionState,
    max: number,
    waitMs: number,
    signal: AbortSignal | undefined,
    wanted?: Wanted,
  ): Promise<Lease[]> {
    const waitUntil = this.#clock.steady() + waitMs;
    for (;;) {
      if (signal?.aborted) return [];
      const leases = this.lease(subscription, max, subscription.ackDeadlineMs, wanted);
      await leases[0]?.written;
      const leftMs = waitUntil - this.#clock.steady();
      if (leases.length > 0 || leftMs <= 0 || subscription.ended || this.#closed) return leases;
      const { promise, resolve } = Promise.withResolvers<void>();
      const cancel = this.#clock.after(leftMs, resolve);
      subscription.waiting.add(resolve);
      signal?.addEventListener('abort', () => resolve(), { once: true });
      await promise;
      subscription.waiting.delete(resolve);
      cancel();
    }
  }

  /** Whether something could be leased now. */
  available(subscription: SubscriptionState, wanted?: Wanted): boolean {
    const available = subscription.available(this.#time, wanted);
    if (!available) this.#lookOn(subscription);
    return available;
  }

  /**
   * What was settled before this time cannot be delivered again: it is when the oldest message was published that some
   * subscription has not settled. Infinity where there is none.
   */
  async oldestUnsettledAt(): Promise<number> {
    await this.#database.write(() => {
      for (const each of this.#subscriptions.values()) each.flush(true);
    });
    const first = [...this.#subscriptions.values()].map((each) => each.firstUnsettledAt() ?? Number.POSITIVE_INFINITY);
    return Math.min(Number.POSITIVE_INFINITY, ...first);
  }

  /**
   * Removes messages that nobody can have any more, of those published before a time, so many at most: past the cursor
   * of every subscription and snapshot, and the retention of all of them. Answers how many went.
   */
  prune(most: number, publishedBefore = Number.POSITIVE_INFINITY): Promise<number> {
    return this.#database.write(() => {
      const last = publishedBefore === Number.POSITIVE_INFINITY ? this.#log.end : this.#log.lastBefore(publishedBefore);
      // Over what its filter hides, which nobody acks, a cursor moves only here.
      for (const subscription of this.#subscriptions.values()) {
        subscription.available(this.#time);
        subscription.flush(true);
      }
      let removed = 0;
      for (const topicId of this.#log.topicIds()) {
        if (removed >= most) break;
        removed += this.#log.prune(topicId, Math.min(last, this.#lastPrunable(topicId)), most - removed);
      }
      return removed;
    });
  }

  /** Snapshots whose time is over, and subscriptions that nobody used for their time to live. */
  async removeExpired(): Promise<void> {
    const now = this.#clock.now();
    await this.#database.write(() => this.snapshots.removeExpired());
    for (const subscription of [...this.#subscriptions.values()]) {
      const ttlMs = ttlOf(subscription.config);
      if (ttlMs === undefined) continue;
      const row = this.#database.prepare('SELECT active_at FROM subscription WHERE id = ?').get(subscription.id);
      const written = (row?.active_at as number | null) ?? undefined;
      const activeAt = subscription.waiting.size > 0 ? now : Math.max(written ?? now, subscription.activeAt ?? 0);
      if (now - activeAt < ttlMs) await this.#noteActive(subscription, activeAt, written);
      else await this.deleteSubscription(subscription.config.name);
    }
  }

  /** Sets no alarm and tells nobody any more. The database stays open. */
  close(): void {
    this.#closed = true;
    this.#housekeeping?.stop();
    for (const { cancel } of this.#alarms.values()) cancel();
    this.#alarms.clear();
    this.onAvailable = () => {};
    for (const { waiting } of this.#subscriptions.values()) for (const each of waiting) each();
  }

  /** Of leases and backoffs. */
  get #time(): number {
    return Math.floor(this.#epoch + this.#clock.steady());
  }

  /** One alarm a subscription: the earliest lease to expire or backoff to end. */
  #setAlarm(subscription: SubscriptionState): void {
    if (this.#closed) return;
    let at = subscription.hasCandidates ? Number.POSITIVE_INFINITY : subscription.nextDueAt;
    for (const { expiresAt } of subscription.leases.values()) at = Math.min(at, expiresAt);
    const current = this.#alarms.get(subscription);
    if (current && current.at <= at) return;
    current?.cancel();
    if (at === Number.POSITIVE_INFINITY) return;
    const cancel = this.#clock.after(at - this.#time, () => void this.#onAlarm(subscription));
    this.#alarms.set(subscription, { at, cancel });
  }

  async #onAlarm(subscription: SubscriptionState): Promise<void> {
    this.#alarms.delete(subscription);
    const now = this.#time;
    const expired = [...subscription.leases.values()].filter(({ expiresAt }) => expiresAt <= now);
    try {
      if (expired.length > 0) await this.#setAside(subscription, expired);
    } catch {
      // The disk would not take it: the leases stand, and are looked at again shortly.
      for (const { message } of expired) this.extend(subscription, message.position, alarmRetryMs);
      return;
    }
    if (this.#closed) return;
    this.#setAlarm(subscription);
    if (this.available(subscription)) this.#tell(subscription);
  }

  /** Waits out its backoff, or has failed as often as its policy allows and goes to the dead-letter topic in the same write. */
  async #setAside(subscription: SubscriptionState, leases: readonly Lease[], died = false): Promise<void> {
    const forwarded: Lease[] = [];
    try {
      await this.#database.write(() => {
        for (const lease of leases) {
          if (!this.#isSpent(subscription, lease.attempt)) subscription.nack(lease, this.#time, died);
          else if (subscription.leases.get(lease.message.position) === lease && !lease.acking) {
            this.append(
              subscription.config.deadLetterPolicy!.deadLetterTopic!,
              deadLetterOf(subscription.config, lease),
            );
            subscription.ackNow(lease);
            forwarded.push(lease);
          }
        }
        if (forwarded.length > 0) subscription.flush();
      });
    } catch (error) {
      for (const lease of forwarded) subscription.undoAck(lease);
      throw error;
    }
    this.#setAlarm(subscription);
    if (subscription.waiting.size > 0 && this.available(subscription)) this.#tell(subscription);
  }

  /** Whether so many attempts are all that its policy allows. Without its topic a message stays where it is. */
  #isSpent({ config: { deadLetterPolicy } }: SubscriptionState, attempts: number): boolean {
    if (!deadLetterPolicy) return false;
    const { deadLetterTopic = '', maxDeliveryAttempts = bounds.attempts.unset } = deadLetterPolicy;
    return attempts >= maxDeliveryAttempts && this.#topics.has(deadLetterTopic);
  }

  #held(subscription: SubscriptionState, deliveries: readonly Delivery[]): [Lease[], Delivery[]] {
    const held: Lease[] = [];
    const gone: Delivery[] = [];
    for (const delivery of deliveries) {
      const lease = subscription.held(delivery.position, delivery.attempt, this.#time);
      if (lease) held.push(lease);
      else gone.push(delivery);
    }
    return [held, gone];
  }

  async #seek(name: string, seek: (subscription: SubscriptionState, now: number) => void): Promise<void> {
    const subscription = this.subscription(name);
    try {
      await this.#database.write(() => {
        this.#configOf('subscription', name);
        seek(subscription, this.#clock.now());
        this.#database.prepare('UPDATE subscription SET seeks = seeks + 1 WHERE id = ?').run(subscription.id);
      });
    } catch (error) {
      subscription.seekFailed();
      throw error;
    }
    this.#setAlarm(subscription);
    this.#tell(subscription);
  }

  /** The last position that can't be had again; undefined where nothing acked is retained. */
  #retainedFrom({ begin, config }: SubscriptionState, now: number): number | undefined {
    const ofTopicMs = millisecondsOf(this.#topics.get(config.topic)?.config.messageRetentionDuration);
    const ofTopic = ofTopicMs === undefined ? undefined : this.#log.lastBefore(now - ofTopicMs);
    if (!config.retainAckedMessages) return ofTopic;
    const ofSubscription = Math.max(begin, this.#log.lastBefore(now - retentionOf(config)));
    return Math.min(ofTopic ?? Number.POSITIVE_INFINITY, ofSubscription);
  }

  /** Up to where nobody can have what is in a topic's log. */
  #lastPrunable(topicId: number): number {
    const now = this.#clock.now();
    let last = this.#log.end;
    const topic = [...this.#topics.values()].find(({ id }) => id === topicId);
    const ofTopicMs = millisecondsOf(topic?.config.messageRetentionDuration);
    if (ofTopicMs !== undefined) last = Math.min(last, this.#log.lastBefore(now - ofTopicMs));
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.topicId !== topicId) continue;
      const { config, cursor, begin } = subscription;
      const past = this.#log.lastBefore(now - retentionOf(config));
      const acked = config.retainAckedMessages ? Math.max(begin, Math.min(cursor, past)) : cursor;
      last = Math.min(last, this.#tidies ? Math.max(acked, past) : acked);
    }
    return Math.min(last, this.snapshots.lowestCursor(topicId));
  }

  async #noteActive({ id }: SubscriptionState, activeAt: number, written: number | undefined): Promise<void> {
    if (written !== undefined && activeAt - written < activeEveryMs) return;
    await this.#database.write(() =>
      this.#database.prepare('UPDATE subscription SET active_at = ? WHERE id = ?').run(activeAt, id),
    );
  }

  /** Asks again in the next turn of the loop, where a subscription has much to pass over. */
  #lookOn(subscription: SubscriptionState): void {
    if (!subscription.isLooking || this.#looking.has(subscription)) return;
    this.#looking.add(subscription);
    setImmediate(() => {
      this.#looking.delete(subscription);
      if (!this.#closed && !subscription.ended) this.#tell(subscription);
    });
  }

  #tell(subscription: SubscriptionState): void {
    this.onAvailable(subscription);
    for (const each of [...subscription.waiting]) each();
  }

  #noticeLane(lane: string): void {
    this.#lane ??= lane;
    if (lane !== this.#lane) this.hasSeveralLanes = true;
  }

  #topicState(name: string): TopicState {
    const found = this.#topics.get(name);
    if (!found) throw new BrokerError('NOT_FOUND', `there is no topic "${name}"; create it first`);
    return found;
  }

  #refuseExisting(among: ReadonlyMap<string, unknown>, name: string): void {
    if (among.has(name)) throw new BrokerError('ALREADY_EXISTS', `"${name}" exists already`);
  }

  /** Of two that create one name at once, the second finds the first's row. */
  #refuseRow(table: 'topic' | 'subscription', name: string): void {
    if (this.#database.prepare(`SELECT 1 FROM ${table} WHERE name = ?`).get(name)) {
      throw new BrokerError('ALREADY_EXISTS', `"${name}" exists already`);
    }
  }

  /** Only inside a write. @throws BrokerError NOT_FOUND where it was deleted meanwhile */
  #configOf<T>(table: 'topic' | 'subscription', name: string): T {
    const row = this.#database.prepare(`SELECT config FROM ${table} WHERE name = ?`).get(name);
    if (!row) throw new BrokerError('NOT_FOUND', `there is no ${table} "${name}"`);
    return JSON.parse(row.config as string);
  }

  #endSubscription(subscription: SubscriptionState): void {
    this.#subscriptions.delete(subscription.config.name);
    this.#topics.get(subscription.config.topic)?.subscriptions.delete(subscription);
    this.#alarms.get(subscription)?.cancel();
    this.#alarms.delete(subscription);
    subscription.end();
    this.onEnded(subscription);
    for (const each of [...subscription.waiting]) each();
  }

  #addTopic(id: number, config: TopicConfig): void {
    this.#topics.set(config.name, { id, config, subscriptions: new Set() });
  }

  /** Its topic may be gone, or not its any more. */
  #addSubscription({ topic: topicId, config: text, ...row }: SubscriptionRow): void {
    const config: SubscriptionConfig = JSON.parse(text);
    const subscription = new SubscriptionState({
      ...row,
      topicId,
      config,
      log: this.#log,
      database: this.#database,
      retainedSince: (of) => (this.#tidies ? this.#clock.now() - retentionOf(of) : Number.NEGATIVE_INFINITY),
    });
    for (const lane of subscription.lanes) this.#noticeLane(lane);
    this.#subscriptions.set(config.name, subscription);
    if (!config.detached) this.#topics.get(config.topic)?.subscriptions.add(subscription);
    this.#setAlarm(subscription);
  }
}

interface SubscriptionRow {
  readonly id: number;
  readonly topic: number;
  readonly config: string;
  readonly cursor: number;
  readonly begin: number;
  readonly seeks: number;
}

function partition<T>(all: readonly T[], test: (each: T) => boolean): [T[], T[]] {
  const { yes = [], no = [] } = Object.groupBy(all, (each) => (test(each) ? 'yes' : 'no'));
  return [yes, no];
}
