import type { BrokerClock } from './clock.ts';
import type { Database } from './database.ts';
import type { Deliveries } from './deliveries.ts';
import type { Log } from './log.ts';
import type { Snapshots } from './snapshots.ts';
import type { SubscriptionState } from './subscription.ts';
import { millisecondsOf, retentionOf } from './subscription-config.ts';

export interface SeeksOptions {
  readonly database: Database;
  readonly clock: BrokerClock;
  readonly log: Log;
  readonly snapshots: Snapshots;
  readonly deliveries: Deliveries;
  /** @throws BrokerError NOT_FOUND */
  readonly subscription: (name: string) => SubscriptionState;
  /** Only inside a write. @throws BrokerError NOT_FOUND where the subscription was deleted meanwhile */
  readonly refuseDeleted: (name: string) => void;
  /** Of the topic of that name, how long every message is kept. */
  readonly topicRetention: (name: string) => string | undefined;
}

/** Moves a subscription to another place in its log. What was delivered before has no say any more. */
export class Seeks {
  readonly #options: SeeksOptions;

  constructor(options: SeeksOptions) {
    this.#options = options;
  }

  /** Everything published before a time is acked, and everything since is not, as far as it is retained: by the topic, or by the subscription for what was acked. */
  async toTime(name: string, time: number): Promise<void> {
    const { deliveries, log } = this.#options;
    await this.#seek(name, (subscription) => {
      const cursor = log.lastBefore(time);
      const from = this.#retainedFrom(subscription);
      if (from === undefined) subscription.seek(cursor, 'same', deliveries.time);
      else subscription.seek(Math.max(cursor, from), 'none', deliveries.time);
    });
  }

  /** As the snapshot has it. @throws BrokerError NOT_FOUND, or FAILED_PRECONDITION where it is of another topic */
  async toSnapshot(name: string, snapshot: string): Promise<void> {
    const { deliveries, snapshots } = this.#options;
    await this.#seek(name, (subscription) => snapshots.seek(snapshot, subscription, deliveries.time));
  }

  async #seek(name: string, seek: (subscription: SubscriptionState) => void): Promise<void> {
    const { database, deliveries, refuseDeleted } = this.#options;
    const subscription = this.#options.subscription(name);
    let begun = false;
    try {
      await database.write(() => {
        refuseDeleted(name);
        database.prepare('UPDATE subscription SET seeks = seeks + 1 WHERE id = ?').run(subscription.id);
        seek(subscription);
        begun = true;
      });
    } catch (error) {
      if (begun) {
        subscription.undoSeek();
        deliveries.begin(subscription);
      }
      throw error;
    }
    deliveries.begin(subscription);
  }

  /** The last position that can't be had again; undefined where nothing acked is retained. */
  #retainedFrom({ begin, config }: SubscriptionState): number | undefined {
    const { clock, log, topicRetention } = this.#options;
    const now = clock.now();
    const ofTopicMs = millisecondsOf(topicRetention(config.topic));
    const ofTopic = ofTopicMs === undefined ? undefined : log.lastBefore(now - ofTopicMs);
    if (!config.retainAckedMessages) return ofTopic;
    const ofSubscription = Math.max(begin, log.lastBefore(now - retentionOf(config)));
    return Math.min(ofTopic ?? Number.POSITIVE_INFINITY, ofSubscription);
  }
}
