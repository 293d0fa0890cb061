import { BrokerError } from './broker-error.ts';
import type { Database } from './database.ts';
import { FilterError, parseFilter } from './filter.ts';
import { Log, type PubsubMessage } from './log.ts';
import { checkResourceName } from './names.ts';
import { type Lease, type SubscriptionConfig, SubscriptionState, type Wanted } from './subscription.ts';

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
  readonly kmsKeyName?: string;
  readonly ingestionDataSourceSettings?: unknown;
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
  /** Whether somebody pushes. Default true; where nobody does, endpoints are refused rather than kept and forgotten. */
  readonly pushes?: boolean;
}

const alarmRetryMs = 1_000;

/** Source of the limits: google.pubsub.v1 and its quotas. */
const limits = {
  messagesAPublish: 1000,
  attributes: 100,
  keyBytes: 256,
  valueBytes: 1024,
  messageBytes: 10_000_000,
  publishBytes: 10_000_000,
  orderingKeyBytes: 1024,
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
  readonly pushes: boolean;
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
     ${SubscriptionState.schema[0]}`,
    Log.schema[1]!,
    SubscriptionState.schema[1]!,
    'CREATE TABLE policy (resource TEXT PRIMARY KEY, policy TEXT NOT NULL) STRICT, WITHOUT ROWID;',
  ];

  constructor(database: Database, clock: BrokerClock, { fairBy, pushes = true }: BrokerOptions = {}) {
    database.migrate('broker', Broker.schema);
    this.#database = database;
    this.#clock = clock;
    this.#epoch = clock.now() - clock.steady();
    this.#fairBy = fairBy;
    this.pushes = pushes;
    this.#log = new Log(database);
    // No backoff is longer: one that ends later was set before the machine's clock went back.
    database.prepare('UPDATE exception SET due_at = ?1 WHERE due_at > ?1').run(this.#time + limits.backoffMs);
    for (const row of database.prepare('SELECT * FROM topic').all()) {
      this.#addTopic(row.id as number, JSON.parse(row.config as string));
    }
    for (const row of database.prepare('SELECT * FROM subscription').all()) {
      const { id, topic, config, cursor } = row as unknown as SubscriptionRow;
      this.#addSubscription(id, topic, JSON.parse(config), cursor);
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
    checkPolicy(config);
    await this.#database.write(() => {
      this.#refuseRow('subscription', config.name);
      // Of a topic that is deleted in the same group, only its row knows it.
      this.#configOf('topic', topic.config.name);
      const cursor = this.#log.end;
      const { lastInsertRowid } = this.#database
        .prepare('INSERT INTO subscription (name, topic, config, cursor) VALUES (?, ?, ?, ?)')
        .run(config.name, topic.id, JSON.stringify(config), cursor);
      this.#database.afterSync(() => this.#addSubscription(Number(lastInsertRowid), topic.id, config, cursor));
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
      this.#forgetPolicy(name);
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
      checkPolicy(config);
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
      this.#forgetPolicy(name);
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
        this.#addSubscription(subscription.id, 0, config, cursor);
      });
    });
  }

  /** The IAM policy of a resource; undefined where none was set. */
  policy(resource: string): unknown {
    const row = this.#database.prepare('SELECT policy FROM policy WHERE resource = ?').get(resource);
    return row && JSON.parse(row.policy as string);
  }

  async setPolicy<T>(resource: string, change: (policy: unknown) => T): Promise<T> {
    return this.#database.write(() => {
      const policy = change(this.policy(resource));
      this.#database
        .prepare('INSERT OR REPLACE INTO policy (resource, policy) VALUES (?, ?)')
        .run(resource, JSON.stringify(policy));
      return policy;
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
    });
    return messageId;
  }

  /** Leases what can be had now, up to `max`. */
  lease(
    subscription: SubscriptionState,
    max: number,
    durationMs = subscription.ackDeadlineMs,
    wanted?: Wanted,
  ): Lease[] {
    const leases = subscription.lease(max, this.#time, durationMs, wanted);
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
    return subscription.available(this.#time, wanted);
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
    if (this.available(subscription)) this.#tell(subscription);
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

  #forgetPolicy(resource: string): void {
    this.#database.prepare('DELETE FROM policy WHERE resource = ?').run(resource);
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
  #addSubscription(id: number, topicId: number, config: SubscriptionConfig, cursor: number): void {
    const subscription = new SubscriptionState(id, topicId, config, cursor, this.#log, this.#database);
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
  let bytes = 0;
  for (const [index, { data, attributes, orderingKey = '' }] of messages.entries()) {
    const entries = Object.entries(attributes);
    const where = `messages[${index}]`;
    if (data === '' && entries.length === 0) refuse(`${where} has neither data nor attributes; give it one of them`);
    if (data.length * 0.75 > limits.messageBytes) refuse(`${where}: data is over ${limits.messageBytes} bytes`);
    if (Buffer.byteLength(orderingKey) > limits.orderingKeyBytes)
      refuse(`${where}: the ordering key is over ${limits.orderingKeyBytes} bytes`);
    if (orderingKey !== (messages[0]!.orderingKey ?? '')) {
      throw new BrokerError(
        'FAILED_PRECONDITION',
        `${where}: in a single publish request, all messages must have no ordering key or all the same`,
      );
    }
    bytes += data.length * 0.75;
    if (entries.length > limits.attributes)
      refuse(`${where} has ${entries.length} attributes; at most ${limits.attributes} are allowed`);
    for (const [key, value] of entries) {
      if (key === '' || Buffer.byteLength(key) > limits.keyBytes)
        refuse(`${where}: an attribute key must have 1 to ${limits.keyBytes} bytes`);
      if (Buffer.byteLength(value) > limits.valueBytes)
        refuse(`${where}: attribute "${key}" is over ${limits.valueBytes} bytes`);
      // Clients keep traces and schemas in attributes of theirs.
      if (/^goog(?!client_)/.test(key)) refuse(`${where}: attribute "${key}" must not begin with "goog"`);
      bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    }
  }
  if (bytes > limits.publishBytes)
    refuse(`the messages have ${Math.ceil(bytes)} bytes; at most ${limits.publishBytes} are allowed`);
}
