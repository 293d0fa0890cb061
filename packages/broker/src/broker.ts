import type { Batch } from './batch.ts';
import { alreadyExists, notFound } from './broker-error.ts';
import type { BrokerClock } from './clock.ts';
import type { Database } from './database.ts';
import { Deliveries } from './deliveries.ts';
import { Exceptions } from './exceptions.ts';
import { Fairness } from './fairness.ts';
import { Housekeeping } from './housekeeping.ts';
import { Log, type PubsubMessage } from './log.ts';
import { checkMessages } from './message-limits.ts';
import { checkResourceName } from './names.ts';
import { Policies } from './policies.ts';
import type { PushState } from './push.ts';
import { Schemas } from './schema/schemas.ts';
import { Seeks } from './seeks.ts';
import { Snapshots } from './snapshots.ts';
import { SubscriptionState } from './subscription.ts';
import { bounds, retentionOf, type SubscriptionConfig } from './subscription-config.ts';
import { deletedTopic, type TopicConfig } from './topic-config.ts';
import { Transforms } from './transform/transforms.ts';

interface TopicState {
  readonly id: number;
  config: TopicConfig;
  readonly subscriptions: Set<SubscriptionState>;
}

export interface BrokerOptions {
  /** Messages that differ in this attribute take turns on every subscription, so that no burst of one starves the others. */
  readonly fairBy?: string;
  /**
   * Whether messages past their retention and subscriptions idle for too long go, and what is settled is removed, as on Google.
   * Default true; otherwise `prune` is the owner's to call, and what nobody acked is kept for ever.
   */
  readonly tidies?: boolean;
}

/**
 * Topics and their subscriptions, and publishing, over one database; what is given out and comes back is the business of
 * `deliveries`, and where a subscription stands in its log that of `seeks`. The registry is small and kept in memory beside its table; messages and exceptions stay on disk.
 */
export class Broker {
  readonly #database: Database;
  readonly #clock: BrokerClock;
  readonly #fairness: Fairness;
  readonly policies: Policies;
  readonly snapshots: Snapshots;
  readonly schemas: Schemas;
  readonly transforms = new Transforms();
  readonly #tidies: boolean;
  readonly deliveries: Deliveries;
  readonly housekeeping: Housekeeping;
  readonly seeks: Seeks;
  readonly #log: Log;
  readonly #topics = new Map<string, TopicState>();
  readonly #subscriptions = new Map<string, SubscriptionState>();

  /** A subscription was deleted or detached: it offers nothing any more. */
  onEnded: (subscription: SubscriptionState) => void = () => {};
  /** How the pushes of a subscription go, as whoever pushes knows; undefined where nobody does. */
  pushStateOf: (subscription: SubscriptionState) => PushState | undefined = () => undefined;

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
    Log.schema[3]!,
  ];

  constructor(database: Database, clock: BrokerClock, { fairBy, tidies = true }: BrokerOptions = {}) {
    database.migrate('broker', Broker.schema);
    this.#database = database;
    this.#clock = clock;
    this.#fairness = new Fairness(fairBy);
    this.#tidies = tidies;
    this.#log = new Log(database);
    this.policies = new Policies(database);
    this.snapshots = new Snapshots(database, this.#log, clock.now);
    this.schemas = new Schemas(database, this.policies, () => clock.now());
    const subscriptions = () => this.#subscriptions.values();
    this.deliveries = new Deliveries({
      database,
      clock,
      subscriptions,
      transforms: this.transforms,
      hasTopic: (name) => this.hasTopic(name),
      append: (topic, message) => this.append(topic, message),
      onSettled: () => this.housekeeping.notice(),
    });
    this.housekeeping = new Housekeeping({
      database,
      clock,
      log: this.#log,
      snapshots: this.snapshots,
      topics: () => this.#topics.values(),
      subscriptions,
      deleteSubscription: (name) => this.deleteSubscription(name),
      time: () => this.deliveries.time,
      tidies,
    });
    this.seeks = new Seeks({
      database,
      clock,
      log: this.#log,
      snapshots: this.snapshots,
      deliveries: this.deliveries,
      subscription: (name) => this.subscription(name),
      refuseDeleted: (name) => void this.#configOf('subscription', name),
      topicRetention: (name) => this.#topics.get(name)?.config.messageRetentionDuration,
    });
    // No backoff is longer: one that ends later was set before the machine's clock went back.
    database
      .prepare('UPDATE exception SET due_at = ?1 WHERE due_at > ?1')
      .run(this.deliveries.time + bounds.backoffMs.most);
    for (const row of database.prepare('SELECT * FROM topic').all()) {
      this.#addTopic(row.id as number, JSON.parse(row.config as string));
    }
    for (const row of database.prepare('SELECT * FROM subscription').all()) {
      this.#addSubscription(row as unknown as SubscriptionRow);
    }
  }

  /** For what looks into its tables. */
  get database(): Database {
    return this.#database;
  }

  get clock(): BrokerClock {
    return this.#clock;
  }

  /** Who pulls is given nothing, and nothing is pushed, until it is resumed; acks and nacks of what is out count. */
  async pause(name: string, paused: boolean): Promise<void> {
    await this.updateSubscription(name, ({ paused: _before, ...config }) => (paused ? { ...config, paused } : config));
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

  topicId(name: string): number {
    return this.#topicState(name).id;
  }

  /** What is subscribed to a topic; what is detached is not. */
  subscriptionsOf(topicName: string): SubscriptionState[] {
    return [...this.#topicState(topicName).subscriptions];
  }

  subscription(name: string): SubscriptionState {
    const found = this.#subscriptions.get(name);
    if (!found) throw notFound('subscription', name);
    return found;
  }

  async createTopic(config: TopicConfig): Promise<TopicConfig> {
    checkResourceName('topics', config.name);
    if (this.#topics.has(config.name)) throw alreadyExists('topic', config.name);
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
    if (this.#subscriptions.has(config.name)) throw alreadyExists('subscription', config.name);
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
        this.deliveries.begin(subscription);
      });
      return config;
    });
  }

  /**
   * Another filter or order, which no client can change: for the owner of the broker, while nobody is given anything. What waits stays, and
   * goes by these from then on.
   */
  async remakeSubscription(
    name: string,
    what: Pick<SubscriptionConfig, 'filter' | 'enableMessageOrdering'>,
  ): Promise<void> {
    const subscription = this.subscription(name);
    await this.#database.write(() => {
      const config = { ...this.#configOf<SubscriptionConfig>('subscription', name), ...what };
      this.#database
        .prepare('UPDATE subscription SET config = ? WHERE id = ?')
        .run(JSON.stringify(config), subscription.id);
      this.#database.afterSync(() => {
        this.#endSubscription(subscription);
        const { id, topicId, cursor, begin, seeks } = subscription;
        this.#addSubscription({ id, topic: topicId, config: JSON.stringify(config), cursor, begin, seeks });
      });
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
    return this.#database.write(() => this.#appendAll(topicName, messages));
  }

  /** For a message that is taken and not kept. */
  newMessageId(): string {
    return this.#log.newId();
  }

  /** Whether there were messages that differ in what is fair by. */
  get hasSeveralLanes(): boolean {
    return this.#fairness.hasSeveralLanes;
  }

  hasTopic(name: string): boolean {
    return this.#topics.has(name);
  }

  /** Only inside a write: adds one message to a topic's log, in the transaction of whatever else that write does. */
  append(topicName: string, message: PubsubMessage): string {
    return this.#appendAll(topicName, [message])[0]!;
  }

  /** Subscriptions are told once, however many messages there are. */
  #appendAll(topicName: string, messages: readonly PubsubMessage[]): string[] {
    const topic = this.#topicState(topicName);
    const now = this.#clock.now();
    const ofLane = new Map<string, Batch[]>();
    const ids: string[] = [];
    for (const [lane, run] of this.#fairness.runsOf(messages)) {
      const batches = this.#log.append(topic.id, lane, run, now);
      for (const batch of batches) {
        for (let position = batch.first; position <= batch.last; position++) ids.push(batch.idOf(position));
      }
      const before = ofLane.get(lane);
      if (before) before.push(...batches);
      else ofLane.set(lane, batches);
    }
    this.#database.afterSync(() => {
      for (const batches of ofLane.values()) this.#log.end = Math.max(this.#log.end, batches.at(-1)!.last);
      for (const [lane, batches] of ofLane) {
        this.#fairness.notice(lane);
        for (const subscription of topic.subscriptions) subscription.notice(lane, batches);
      }
      this.housekeeping.notice();
    });
    // Those who publish are given the ids of their messages before these leave; by gRPC their answer ends only after that.
    this.#database.afterAnswers(() => {
      for (const subscription of topic.subscriptions) {
        // Whoever was answered may have it already.
        if (this.deliveries.available(subscription)) this.deliveries.tell(subscription);
      }
    });
    return ids;
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

  /** Sets no alarm and tells nobody any more. The database stays open. */
  close(): void {
    this.housekeeping.stop();
    this.deliveries.close();
    this.transforms.close();
  }

  #topicState(name: string): TopicState {
    const found = this.#topics.get(name);
    if (!found) throw notFound('topic', name);
    return found;
  }

  /** Of two that create one name at once, the second finds the first's row. */
  #refuseRow(table: 'topic' | 'subscription', name: string): void {
    if (this.#database.prepare(`SELECT 1 FROM ${table} WHERE name = ?`).get(name)) {
      throw alreadyExists(table, name);
    }
  }

  /** Only inside a write. @throws BrokerError NOT_FOUND where it was deleted meanwhile */
  #configOf<T>(table: 'topic' | 'subscription', name: string): T {
    const row = this.#database.prepare(`SELECT config FROM ${table} WHERE name = ?`).get(name);
    if (!row) throw notFound(table, name);
    return JSON.parse(row.config as string);
  }

  #endSubscription(subscription: SubscriptionState): void {
    this.#subscriptions.delete(subscription.config.name);
    this.#topics.get(subscription.config.topic)?.subscriptions.delete(subscription);
    subscription.end();
    this.onEnded(subscription);
    this.deliveries.forget(subscription);
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
      // Nobody leases more than a thousand a millisecond.
      serial: this.#clock.now() * 1000,
      retainedSince: (of) => (this.#tidies ? this.#clock.now() - retentionOf(of) : Number.NEGATIVE_INFINITY),
    });
    for (const lane of subscription.lanes) this.#fairness.notice(lane);
    this.#subscriptions.set(config.name, subscription);
    if (!config.detached) this.#topics.get(config.topic)?.subscriptions.add(subscription);
    this.deliveries.begin(subscription);
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
