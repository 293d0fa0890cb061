import type { BrokerClock } from './clock.ts';
import type { Database } from './database.ts';
import type { Log } from './log.ts';
import type { Snapshots } from './snapshots.ts';
import type { SubscriptionState } from './subscription.ts';
import { millisecondsOf, retentionOf, ttlOf } from './subscription-config.ts';
import type { TopicConfig } from './topic-config.ts';

export interface HousekeepingOptions {
  readonly database: Database;
  readonly clock: BrokerClock;
  readonly log: Log;
  readonly snapshots: Snapshots;
  readonly topics: () => Iterable<{ readonly id: number; readonly config: TopicConfig }>;
  readonly subscriptions: () => Iterable<SubscriptionState>;
  readonly deleteSubscription: (name: string) => Promise<void>;
  /** Of leases and backoffs. */
  readonly time: () => number;
  /** By itself; else what nobody acked is kept for ever, and `prune` is the owner's to call. */
  readonly tidies: boolean;
}

const soonMs = 1_000;
const latestMs = 3_600_000;
/** One to three milliseconds of the loop, where each has a row of its own. */
const messagesAtATime = 500;
/** What a subscription was last used for is written down when it is so much older than what is there. */
const activeEveryMs = 3_600_000;

/**
 * Lets go of what a broker need not keep: messages that nobody can have any more, expired snapshots, idle subscriptions.
 * A second after something happened, a few rows at a time so that publishing goes on between, and else once an hour.
 */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  #cancel: (() => void) | undefined;
  #isSoon = false;
  #stopped = false;
  #round: Promise<void> | undefined;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    if (options.tidies) this.#wait(soonMs);
    else this.#stopped = true;
  }

  /** Something was published or settled. */
  notice(): void {
    if (this.#isSoon || this.#stopped) return;
    this.#isSoon = true;
    this.#wait(soonMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  /**
   * Removes messages that nobody can have any more, of those published before a time, so many at most: past the cursor
   * of every subscription and snapshot, and the retention of all of them. Answers how many went.
   */
  prune(most: number, publishedBefore = Number.POSITIVE_INFINITY): Promise<number> {
    return this.#options.database.write(() => this.#remove(this.#removable(publishedBefore), most));
  }

  /** Lets go of all that may go now, or waits for who is at it. */
  tidy(): Promise<void> {
    this.#round ??= this.#tidy().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  #wait(ms: number): void {
    this.#cancel?.();
    this.#cancel = this.#options.clock.after(ms, () => {
      this.#cancel = undefined;
      this.#isSoon = false;
      void this.tidy();
    });
  }

  async #tidy(): Promise<void> {
    try {
      await this.#removeExpired();
      while (!this.#stopped && (await this.#removeRound()) > 0);
    } catch {
      // The disk would not take it. Whoever publishes is told; here the next round makes it good.
    }
    if (!this.#stopped && this.#cancel === undefined) this.#wait(latestMs);
  }

  /** Snapshots whose time is over, and subscriptions that nobody used for their time to live. */
  async #removeExpired(): Promise<void> {
    const { clock, database, snapshots, subscriptions, deleteSubscription } = this.#options;
    const now = clock.now();
    await database.write(() => snapshots.removeExpired());
    const written = database.prepare('SELECT active_at FROM subscription WHERE id = ?');
    for (const subscription of [...subscriptions()]) {
      const ttlMs = ttlOf(subscription.config);
      if (ttlMs === undefined) continue;
      const row = written.get(subscription.id);
      const writtenAt = (row?.active_at as number | null) ?? undefined;
      const activeAt = subscription.waiting.size > 0 ? now : Math.max(writtenAt ?? now, subscription.activeAt ?? 0);
      if (now - activeAt < ttlMs) await this.#noteActive(subscription, activeAt, writtenAt);
      else await deleteSubscription(subscription.config.name);
    }
  }

  /** The last position of what is older than a duration; found once for each, since many have the same. */
  #lastBefore(): (ageMs: number) => number {
    const { clock, log } = this.#options;
    const now = clock.now();
    const found = new Map<number, number>();
    return (ageMs) => {
      const last = found.get(ageMs) ?? log.lastBefore(now - ageMs);
      found.set(ageMs, last);
      return last;
    };
  }

  /** What may go as things stand, a few rows at a time. Subscriptions are asked once for all of it. Answers how many went. */
  async #removeRound(): Promise<number> {
    const { database } = this.#options;
    const removable = await database.write(() => this.#removable());
    for (let removed = 0; ; ) {
      const remove = () => this.#remove(removable, messagesAtATime);
      const more = this.#stopped ? 0 : await database.write(remove, { urgent: false });
      removed += more;
      if (more < messagesAtATime) return removed;
    }
  }

  /**
   * Only inside a write: by the id of a topic, up to where nobody can have what is in the log. Holds from then on, since what goes back,
   * a seek, goes back no further than this leaves.
   */
  #removable(publishedBefore = Number.POSITIVE_INFINITY): ReadonlyMap<number, number> {
    const { log, snapshots, subscriptions, tidies, time, topics } = this.#options;
    const lastBefore = this.#lastBefore();
    const last = publishedBefore === Number.POSITIVE_INFINITY ? log.end : log.lastBefore(publishedBefore);
    // Over what its filter hides, which nobody acks, a cursor moves only here.
    for (const subscription of subscriptions()) {
      if (subscription.isIdle) continue;
      subscription.available(time());
      if (tidies) subscription.dropWaiting(lastBefore(retentionOf(subscription.config)));
      subscription.flush(true);
    }
    const bySubscriptions = this.#bySubscriptions(lastBefore);
    const bySnapshots = snapshots.lowestCursors();
    const retained = new Map(Array.from(topics(), ({ id, config }) => [id, config.messageRetentionDuration]));
    const ofTopic = (topicId: number) => {
      const retentionMs = millisecondsOf(retained.get(topicId));
      const past = retentionMs === undefined ? last : lastBefore(retentionMs);
      return Math.min(last, past, bySubscriptions.get(topicId) ?? last, bySnapshots.get(topicId) ?? last);
    };
    return new Map(log.topicIds().map((topicId) => [topicId, ofTopic(topicId)]));
  }

  /** Only inside a write. Answers how many went. */
  #remove(removable: ReadonlyMap<number, number>, most: number): number {
    let removed = 0;
    for (const [topicId, last] of removable) {
      if (removed >= most) break;
      removed += this.#options.log.prune(topicId, last, most - removed);
    }
    return removed;
  }

  /** By the id of a topic: up to where none of its subscriptions can have what is in the log. */
  #bySubscriptions(lastBefore: (ageMs: number) => number): ReadonlyMap<number, number> {
    const { subscriptions, tidies } = this.#options;
    const removable = new Map<number, number>();
    for (const { topicId, config, cursor, begin } of subscriptions()) {
      const past = lastBefore(retentionOf(config));
      const acked = config.retainAckedMessages ? Math.max(begin, Math.min(cursor, past)) : cursor;
      const last = tidies ? Math.max(acked, past) : acked;
      removable.set(topicId, Math.min(last, removable.get(topicId) ?? last));
    }
    return removable;
  }

  async #noteActive({ id }: SubscriptionState, activeAt: number, written: number | undefined): Promise<void> {
    if (written !== undefined && activeAt - written < activeEveryMs) return;
    await this.#options.database.write(() =>
      this.#options.database.prepare('UPDATE subscription SET active_at = ? WHERE id = ?').run(activeAt, id),
    );
  }
}
