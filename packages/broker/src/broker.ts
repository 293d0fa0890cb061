import { BrokerError } from './broker-error.ts';
import type { Database } from './database.ts';
import { FilterError, parseFilter } from './filter.ts';
import { Log, type PubsubMessage } from './log.ts';
import { checkResourceName } from './names.ts';
import { type Lease, type LeaseOf, type SubscriptionConfig, SubscriptionState } from './subscription.ts';

/** Time as the broker needs it. */
export interface BrokerClock {
  /** Epoch milliseconds. May jump, also back. */
  now(): number;
  /** Milliseconds since a moment of no meaning. Never jumps. */
  steady(): number;
  after(durationMs: number, callback: () => void): () => void;
}

export interface TopicConfig {
  readonly name: string;
}

interface TopicState {
  readonly id: number;
  readonly config: TopicConfig;
  readonly subscriptions: Set<SubscriptionState>;
}

export interface BrokerOptions {
  /** Messages that differ in this attribute take turns on every subscription, so that no burst of one starves the others. */
  readonly fairBy?: string;
}

const alarmRetryMs = 1_000;

/** Source of the limits: google.pubsub.v1 and its quotas. */
const limits = {
  messagesAPublish: 1000,
  attributes: 100,
  keyBytes: 256,
  valueBytes: 1024,
  messageBytes: 10_000_000,
  backoffMs: 600_000,
};

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

  static readonly schema = [
    `CREATE TABLE topic (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, config TEXT NOT NULL) STRICT;
     CREATE TABLE subscription (
       id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, topic INTEGER NOT NULL, config TEXT NOT NULL, cursor INTEGER NOT NULL
     ) STRICT;
     ${Log.schema[0]}
     ${SubscriptionState.schema[0]}`,
    Log.schema[1]!,
    SubscriptionState.schema[1]!,
  ];

  constructor(database: Database, clock: BrokerClock, { fairBy }: BrokerOptions = {}) {
    database.migrate('broker', Broker.schema);
    this.#database = database;
    this.#clock = clock;
    this.#epoch = clock.now() - clock.steady();
    this.#fairBy = fairBy;
    this.#log = new Log(database);
    // No backoff is longer: one that ends later was set before the machine's clock went back.
    database.prepare('UPDATE exception SET due_at = ?1 WHERE due_at > ?1').run(this.#time + limits.backoffMs);
    for (const row of database.prepare('SELECT * FROM topic').all()) {
      this.#addTopic(row.id as number, JSON.parse(row.config as string));
    }
    for (const row of database.prepare('SELECT * FROM subscription').all()) {
      this.#addSubscription(row.id as number, JSON.parse(row.config as string), row.cursor as number);
    }
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
    checkPolicy(config);
    await this.#database.write(() => {
      this.#refuseRow('subscription', config.name);
      const cursor = this.#log.end;
      const { lastInsertRowid } = this.#database
        .prepare('INSERT INTO subscription (name, topic, config, cursor) VALUES (?, ?, ?, ?)')
        .run(config.name, topic.id, JSON.stringify(config), cursor);
      this.#database.afterSync(() => this.#addSubscription(Number(lastInsertRowid), config, cursor));
    });
    return config;
  }

  /** Changes what may change of a subscription: deadline, retries, push. Its topic, filter and name stay. */
  async updateSubscription(
    name: string,
    changes: Pick<Partial<SubscriptionConfig>, 'ackDeadlineSeconds' | 'retryPolicy' | 'pushConfig'>,
  ): Promise<SubscriptionConfig> {
    const subscription = this.subscription(name);
    const config = { ...subscription.config, ...changes };
    checkPolicy(config);
    await this.#database.write(() => {
      this.#database
        .prepare('UPDATE subscription SET config = ? WHERE id = ?')
        .run(JSON.stringify(config), subscription.id);
      this.#database.afterSync(() => {
        subscription.config = config;
        this.onAvailable(subscription);
      });
    });
    return config;
  }

  /** Takes a subscription away, with all that it had not settled. */
  async deleteSubscription(name: string): Promise<void> {
    const subscription = this.subscription(name);
    await this.#database.write(() => {
      this.#database.prepare('DELETE FROM exception WHERE subscription = ?').run(subscription.id);
      this.#database.prepare('DELETE FROM subscription WHERE id = ?').run(subscription.id);
      this.#database.afterSync(() => {
        this.#subscriptions.delete(name);
        this.#topicState(subscription.config.topic).subscriptions.delete(subscription);
        this.#alarms.get(subscription)?.cancel();
        this.#alarms.delete(subscription);
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
      for (const subscription of topic.subscriptions) this.onAvailable(subscription);
    });
    return messageId;
  }

  /** Leases what can be had now, up to `max`. */
  lease(
    subscription: SubscriptionState,
    max: number,
    durationMs = subscription.ackDeadlineMs,
    of?: LeaseOf,
    mayTake?: (lane: string) => boolean,
  ): Lease[] {
    const leases = subscription.lease(max, this.#time, durationMs, of, mayTake);
    if (leases.length > 0) this.#setAlarm(subscription);
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
        // An ack that could not be written comes again after a restart, as an ordinary ack may.
        .catch(() => {
          this.#flushing = false;
        });
    }
    return held;
  }

  /** @param died whoever had them died meanwhile */
  async nack(subscription: SubscriptionState, positions: readonly number[], died = false): Promise<void> {
    await this.#database.write(() => {
      for (const position of positions) subscription.nack(position, this.#time, died);
    });
    this.#setAlarm(subscription);
  }

  /** Nobody saw the message: it may be leased again at once, and the attempt does not count. */
  release(subscription: SubscriptionState, position: number): void {
    subscription.release(position);
  }

  /** Lets a lease run until so long from now. A lease that is gone stays gone. */
  extend(subscription: SubscriptionState, position: number, durationMs: number): void {
    const lease = subscription.leases.get(position);
    if (!lease) return;
    lease.expiresAt = this.#time + durationMs;
    this.#setAlarm(subscription);
  }

  /** Whether something could be leased now. */
  available(subscription: SubscriptionState, of?: LeaseOf, mayTake?: (lane: string) => boolean): boolean {
    return subscription.available(this.#time, of, mayTake);
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
   * Removes messages that were published before a time and that every subscription of their topic has settled, looking
   * at so many from a position on. Answers how many went, and where to go on; undefined at the end.
   */
  prune(after: number, publishedBefore: number, looks: number): Promise<{ removed: number; next: number | undefined }> {
    return this.#database.write(() => this.#log.prune(after, publishedBefore, looks));
  }

  /** Sets no alarm and tells nobody any more. The database stays open. */
  close(): void {
    this.#closed = true;
    for (const { cancel } of this.#alarms.values()) cancel();
    this.#alarms.clear();
    this.onAvailable = () => {};
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
    const expired = [...subscription.leases]
      .filter(([, { expiresAt }]) => expiresAt <= now)
      .map(([position]) => position);
    try {
      if (expired.length > 0) await this.nack(subscription, expired);
    } catch {
      // The disk would not take it: the leases stand, and are looked at again shortly.
      for (const position of expired) this.extend(subscription, position, alarmRetryMs);
      return;
    }
    if (this.#closed) return;
    this.#setAlarm(subscription);
    if (this.available(subscription)) this.onAvailable(subscription);
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

  #addTopic(id: number, config: TopicConfig): void {
    this.#topics.set(config.name, { id, config, subscriptions: new Set() });
  }

  #addSubscription(id: number, config: SubscriptionConfig, cursor: number): void {
    const topic = this.#topicState(config.topic);
    const subscription = new SubscriptionState(id, topic.id, config, cursor, this.#log, this.#database);
    for (const lane of subscription.lanes) this.#noticeLane(lane);
    this.#subscriptions.set(config.name, subscription);
    topic.subscriptions.add(subscription);
    this.#setAlarm(subscription);
  }
}

function checkPolicy({ name, filter, ackDeadlineSeconds = 0, retryPolicy = {} }: SubscriptionConfig): void {
  try {
    parseFilter(filter ?? '');
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new BrokerError('INVALID_ARGUMENT', `subscription "${name}": filter: ${error.message}`, { cause: error });
  }
  if (ackDeadlineSeconds !== 0 && !(ackDeadlineSeconds >= 10 && ackDeadlineSeconds <= 600)) {
    throw new BrokerError(
      'INVALID_ARGUMENT',
      `subscription "${name}": ackDeadlineSeconds must be 10 to 600, got ${ackDeadlineSeconds}`,
    );
  }
  for (const [field, value] of Object.entries(retryPolicy)) {
    const seconds = Number(/^(\d+(?:\.\d+)?)s$/.exec(String(value))?.[1] ?? Number.NaN);
    if (!(seconds >= 0 && seconds * 1000 <= limits.backoffMs)) {
      throw new BrokerError(
        'INVALID_ARGUMENT',
        `subscription "${name}": retryPolicy.${field} must be "0s" to "600s", got "${value}"`,
      );
    }
  }
}

function checkMessages(messages: readonly PubsubMessage[]): void {
  const refuse = (what: string) => {
    throw new BrokerError('INVALID_ARGUMENT', what);
  };
  if (messages.length === 0 || messages.length > limits.messagesAPublish) {
    refuse(`a publish takes 1 to ${limits.messagesAPublish} messages, got ${messages.length}`);
  }
  for (const [index, { data, attributes }] of messages.entries()) {
    const entries = Object.entries(attributes);
    const where = `messages[${index}]`;
    if (data === '' && entries.length === 0) refuse(`${where} has neither data nor attributes; give it one of them`);
    if (data.length * 0.75 > limits.messageBytes) refuse(`${where}: data is over ${limits.messageBytes} bytes`);
    if (entries.length > limits.attributes)
      refuse(`${where} has ${entries.length} attributes; at most ${limits.attributes} are allowed`);
    for (const [key, value] of entries) {
      if (key === '' || Buffer.byteLength(key) > limits.keyBytes)
        refuse(`${where}: an attribute key must have 1 to ${limits.keyBytes} bytes`);
      if (Buffer.byteLength(value) > limits.valueBytes)
        refuse(`${where}: attribute "${key}" is over ${limits.valueBytes} bytes`);
    }
  }
}
