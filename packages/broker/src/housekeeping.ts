import type { BrokerClock, TopicConfig } from './broker.ts';
import type { Database } from './database.ts';
import type { Log } from './log.ts';
import type { Snapshots } from './snapshots.ts';
import type { SubscriptionState } from './subscription.ts';
import { millisecondsOf, retentionOf, ttlOf } from './subscription-config.ts';

export interface HousekeepingOptions {
  readonly database: Database;
  readonly clock: BrokerClock;
  readonly log: Log;
  readonly snapshots: Snapshots;
  /** Undefined where it was deleted. */
  readonly topic: (id: number) => TopicConfig | undefined;
  readonly subscriptions: () => Iterable<SubscriptionState>;
  readonly deleteSubscription: (name: string) => Promise<void>;
  /** Of leases and backoffs. */
  readonly time: () => number;
  /** By itself; else what nobody acked is kept for ever, and `prune` is the owner's to call. */
  readonly tidies: boolean;
}

const soonMs = 1_000;
const latestMs = 3_600_000;
/** One to three milliseconds of the loop. */
const rowsAtATime = 500;
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
    const { database, log, subscriptions, time } = this.#options;
    return database.write(() => {
      const last = publishedBefore === Number.POSITIVE_INFINITY ? log.end : log.lastBefore(publishedBefore);
      // Over what its filter hides, which nobody acks, a cursor moves only here.
      for (const subscription of subscriptions()) {
        subscription.available(time());
        subscription.flush(true);
      }
      let removed = 0;
      for (const topicId of log.topicIds()) {
        if (removed >= most) break;
        removed += log.prune(topicId, Math.min(last, this.#lastPrunable(topicId)), most - removed);
      }
      return removed;
    });
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
      while (!this.#stopped && (await this.prune(rowsAtATime)) > 0);
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
    for (const subscription of [...subscriptions()]) {
      const ttlMs = ttlOf(subscription.config);
      if (ttlMs === undefined) continue;
      const row = database.prepare('SELECT active_at FROM subscription WHERE id = ?').get(subscription.id);
      const written = (row?.active_at as number | null) ?? undefined;
      const activeAt = subscription.waiting.size > 0 ? now : Math.max(written ?? now, subscription.activeAt ?? 0);
      if (now - activeAt < ttlMs) await this.#noteActive(subscription, activeAt, written);
      else await deleteSubscription(subscription.config.name);
    }
  }

  /** Up to where nobody can have what is in a topic's log. */
  #lastPrunable(topicId: number): number {
    const { clock, log, snapshots, subscriptions, tidies } = this.#options;
    const now = clock.now();
    let last = log.end;
    const ofTopicMs = millisecondsOf(this.#options.topic(topicId)?.messageRetentionDuration);
    if (ofTopicMs !== undefined) last = Math.min(last, log.lastBefore(now - ofTopicMs));
    for (const subscription of subscriptions()) {
      if (subscription.topicId !== topicId) continue;
      const { config, cursor, begin } = subscription;
      const past = log.lastBefore(now - retentionOf(config));
      const acked = config.retainAckedMessages ? Math.max(begin, Math.min(cursor, past)) : cursor;
      last = Math.min(last, tidies ? Math.max(acked, past) : acked);
    }
    return Math.min(last, snapshots.lowestCursor(topicId));
  }

  async #noteActive({ id }: SubscriptionState, activeAt: number, written: number | undefined): Promise<void> {
    if (written !== undefined && activeAt - written < activeEveryMs) return;
    await this.#options.database.write(() =>
      this.#options.database.prepare('UPDATE subscription SET active_at = ? WHERE id = ?').run(activeAt, id),
    );
  }
}
