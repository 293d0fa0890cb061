import { Alarms } from './alarms.ts';
import type { BrokerClock } from './clock.ts';
import type { Database } from './database.ts';
import { deadLetterOf } from './dead-letter.ts';
import type { Lease, Wanted } from './lease.ts';
import type { PubsubMessage } from './log.ts';
import { Settlements } from './settlements.ts';
import type { SubscriptionState } from './subscription.ts';
import { bounds } from './subscription-config.ts';
import { activeUdfs, type Udf } from './transform/message-transform.ts';
import { deliveredMessage, type Transforms } from './transform/transforms.ts';

/** A delivery, as its ack id names it. */
export interface Delivery {
  readonly position: number;
  readonly attempt: number;
}

export interface DeliveriesOptions {
  readonly database: Database;
  readonly clock: BrokerClock;
  readonly subscriptions: () => Iterable<SubscriptionState>;
  readonly transforms: Transforms;
  readonly hasTopic: (name: string) => boolean;
  /** Only inside a write: publishes in its transaction, and answers the message's id. */
  readonly append: (topic: string, message: PubsubMessage) => string;
  /** Something was settled for good. */
  readonly onSettled: () => void;
}

const alarmRetryMs = 1_000;
/** Without a retry policy, a message that its subscription's functions fail on comes again so much later. */
const failedTransformMs = 1_000;

/**
 * Gives messages out, and takes back what became of them: leases, acks, nacks, and the times at which leases expire and backoffs
 * end.
 *
 * `onAvailable` fires when a subscription may have something to lease that it did not have before: a durable publish, a
 * backoff that ends, a lease that expires. Nothing polls.
 */
export class Deliveries {
  readonly #database: Database;
  readonly #clock: BrokerClock;
  readonly #options: DeliveriesOptions;
  /** What to add to steady time: so leases and backoffs have dates that hold over a restart, and never jump meanwhile. */
  readonly #epoch: number;
  /** At or before the earliest lease to expire and backoff to end. */
  readonly #alarms: Alarms<SubscriptionState>;
  /** Subscriptions that are asked again in the next turn of the loop. */
  readonly #asking = new Set<SubscriptionState>();
  readonly settlements = new Settlements();
  #flushing = false;
  #closed = false;

  onAvailable: (subscription: SubscriptionState) => void = () => {};

  constructor(options: DeliveriesOptions) {
    this.#options = options;
    this.#database = options.database;
    this.#clock = options.clock;
    this.#epoch = options.clock.now() - options.clock.steady();
    this.#alarms = new Alarms(
      options.clock,
      () => this.time,
      (subscription) => void this.#onAlarm(subscription),
    );
  }

  /** Of leases and backoffs: epoch milliseconds as they were at the start, and since then by the steady clock. */
  get time(): number {
    return Math.floor(this.#epoch + this.#clock.steady());
  }

  /** Leases what can be had now, up to `max`. Their messages are to be shown as `preparing` has them. */
  lease(
    subscription: SubscriptionState,
    max: number,
    durationMs = subscription.ackDeadlineMs,
    wanted?: Wanted,
  ): Lease[] {
    subscription.activeAt = this.#clock.now();
    const all = subscription.lease(max, this.time, durationMs, wanted);
    if (subscription.isLooking) this.#askSoon(subscription);
    this.#alarms.set(subscription, Math.min(all[0]?.expiresAt ?? Number.POSITIVE_INFINITY, nextDueAt(subscription)));
    if (all.length === 0) return all;
    // Delivered that often already, and the process died before its last failure was written down.
    const spent = subscription.config.deadLetterPolicy
      ? all.filter((lease) => this.#isSpent(subscription, lease.attempt - 1))
      : [];
    const leases = spent.length > 0 ? all.filter((lease) => !spent.includes(lease)) : all;
    // Nobody sees this one.
    for (const lease of spent) lease.attempt--;
    if (spent.length > 0) void this.#setSpentAside(subscription, spent);
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
    const lease = subscription.leases.get(position);
    if (!lease || !subscription.ack(position)) return false;
    this.settlements.note(subscription, lease, this.#clock.now());
    if (!this.#flushing) {
      this.#flushing = true;
      this.#database
        .write(
          () => {
            this.#flushing = false;
            for (const each of this.#options.subscriptions()) each.flush();
          },
          { urgent: false },
        )
        .then(() => this.#options.onSettled())
        // An ack that could not be written comes again after a restart, as an ordinary ack may.
        .catch(() => {
          this.#flushing = false;
        });
    }
    if (subscription.config.enableMessageOrdering) this.#askSoon(subscription);
    return true;
  }

  /** Acks that are durable when they are answered, and hold for good. Answers those whose lease was gone, which are not acked. */
  async ackExactly<D extends Delivery>(subscription: SubscriptionState, deliveries: readonly D[]): Promise<D[]> {
    const [acked, gone] = await this.#writeEnds(subscription, (ending) => {
      const [held, gone] = this.#held(subscription, deliveries);
      for (const lease of held) {
        ending.push(lease);
        subscription.ackNow(lease);
      }
      subscription.flush();
      return [held, gone];
    });
    for (const lease of acked) this.settlements.note(subscription, lease, this.#clock.now());
    this.#options.onSettled();
    if (subscription.config.enableMessageOrdering) this.#askSoon(subscription);
    return gone;
  }

  /** @param died whoever had them died meanwhile */
  async nack(subscription: SubscriptionState, positions: readonly number[], died = false): Promise<void> {
    const leases = positions.flatMap((position) => subscription.leases.get(position) ?? []);
    await this.#setAside(subscription, leases, { died });
  }

  /** Nacks as durably as `ackExactly` acks. Answers those whose lease was gone. */
  async nackExactly<D extends Delivery>(subscription: SubscriptionState, deliveries: readonly D[]): Promise<D[]> {
    const [held, gone] = this.#held(subscription, deliveries);
    await this.#setAside(subscription, held);
    return gone;
  }

  /** Nobody saw the message: it may be leased again at once, and the attempt does not count. */
  release(subscription: SubscriptionState, position: number): void {
    subscription.release(position);
    if (subscription.waiting.size > 0) this.tell(subscription);
  }

  /** Lets a lease run until so long from now. A lease that is gone stays gone. */
  extend(subscription: SubscriptionState, position: number, durationMs: number): void {
    const lease = subscription.leases.get(position);
    if (!lease) return;
    subscription.extend(lease, this.time + durationMs);
    this.#alarms.set(subscription, lease.expiresAt);
  }

  /** Extends as durably as `ackExactly` acks. Answers those whose lease was gone. */
  async extendExactly<D extends Delivery>(
    subscription: SubscriptionState,
    deliveries: readonly D[],
    durationMs: number,
  ): Promise<D[]> {
    return this.#database.write(() => {
      const [held, gone] = this.#held(subscription, deliveries);
      const expiresAt = this.time + durationMs;
      for (const lease of held) {
        subscription.writeExtension(lease, expiresAt);
        subscription.extend(lease, expiresAt);
      }
      this.#alarms.set(subscription, expiresAt);
      return gone;
    });
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
      const shown = (await this.preparing(subscription, leases)) ?? leases;
      const leftMs = waitUntil - this.#clock.steady();
      if (shown.length > 0 || leftMs <= 0 || subscription.ended || this.#closed) return shown;
      // What there was is filtered out; there may be more.
      if (leases.length > 0) continue;
      const { promise, resolve } = Promise.withResolvers<void>();
      const cancel = this.#clock.after(leftMs, resolve);
      subscription.waiting.add(resolve);
      const gone = () => resolve();
      signal?.addEventListener('abort', gone, { once: true });
      // While the messages were prepared it may have left, and tells it no more.
      if (signal?.aborted) resolve();
      await promise;
      signal?.removeEventListener('abort', gone);
      subscription.waiting.delete(resolve);
      cancel();
    }
  }

  /**
   * The leases whose messages are to be shown, when they are on disk, and the messages as the subscription's functions leave
   * them. One that has ended meanwhile is shown to nobody, one that is filtered out is acked, one that a function fails on is nacked. Rejects where the leases have ended.
   * Undefined where all can be shown as they are at once.
   */
  preparing(subscription: SubscriptionState, leases: readonly Lease[]): Promise<Lease[]> | undefined {
    const [first] = leases;
    if (!first) return undefined;
    const udfs = activeUdfs(subscription.config.messageTransforms);
    if (udfs.length === 0) return first.written?.then(() => leases.filter((lease) => subscription.stands(lease)));
    return (first.written ?? Promise.resolve()).then(() => this.#transformed(subscription, udfs, leases));
  }

  async #transformed(
    subscription: SubscriptionState,
    udfs: readonly Udf[],
    leases: readonly Lease[],
  ): Promise<Lease[]> {
    const messages = leases.map(({ message }) => deliveredMessage(message));
    const outcomes = await this.#options.transforms.run(udfs, messages).catch((error) => {
      for (const { message } of leases) this.release(subscription, message.position);
      throw error;
    });
    const shown: Lease[] = [];
    const filtered: Delivery[] = [];
    const failed: number[] = [];
    for (const [index, lease] of leases.entries()) {
      const { position } = lease.message;
      // Expired, sought or deleted meanwhile.
      if (!subscription.stands(lease)) continue;
      const { data = '', attributes = {}, ...outcome } = outcomes[index]!;
      if (outcome.filtered) filtered.push({ position, attempt: lease.attempt });
      else if (outcome.failed !== undefined) failed.push(position);
      else shown.push({ ...lease, message: { ...lease.message, data, attributes } });
    }
    if (subscription.isExactlyOnce && filtered.length > 0) await this.ackExactly(subscription, filtered);
    else for (const { position } of filtered) this.ack(subscription, position);
    const { retryPolicy, pushConfig } = subscription.config;
    if (failed.length > 0 && (retryPolicy || pushConfig?.pushEndpoint)) await this.nack(subscription, failed);
    // It would come again at once, and fail again.
    else for (const position of failed) this.extend(subscription, position, failedTransformMs);
    return shown;
  }

  /** Whether something could be leased now. */
  available(subscription: SubscriptionState, wanted?: Wanted): boolean {
    const available = subscription.available(this.time, wanted);
    if (!available && subscription.isLooking) this.#askSoon(subscription);
    return available;
  }

  /** It is new, or stands elsewhere than before. */
  begin(subscription: SubscriptionState): void {
    this.#alarms.set(subscription, earliest(subscription));
    this.tell(subscription);
  }

  /** It is gone; it has been told to end. */
  forget(subscription: SubscriptionState): void {
    this.#alarms.cancel(subscription);
    for (const each of [...subscription.waiting]) each();
  }

  /** There may be something to lease. */
  tell(subscription: SubscriptionState): void {
    this.onAvailable(subscription);
    for (const each of [...subscription.waiting]) each();
  }

  /** Whether somebody will be told in the next turn of the loop. */
  get isTelling(): boolean {
    return this.#asking.size > 0;
  }

  /** Sets no alarm and tells nobody any more. */
  close(): void {
    this.#closed = true;
    this.#alarms.close();
    this.onAvailable = () => {};
    for (const { waiting } of this.#options.subscriptions()) for (const each of waiting) each();
  }

  async #onAlarm(subscription: SubscriptionState): Promise<void> {
    const expired = subscription.takeExpired(this.time);
    try {
      if (expired.length > 0) await this.#setAside(subscription, expired, { expired: true });
    } catch {
      // The disk would not take it: the leases stand, and are looked at again shortly.
      for (const { message } of expired) this.extend(subscription, message.position, alarmRetryMs);
      this.#alarms.set(subscription, earliest(subscription));
      return;
    }
    if (this.#closed) return;
    this.#alarms.set(subscription, earliest(subscription));
    if (this.available(subscription)) this.tell(subscription);
  }

  /** Delivered as often as its policy allows. Where the disk does not take that now, its lease expires, and then again. */
  async #setSpentAside(subscription: SubscriptionState, spent: readonly Lease[]): Promise<void> {
    try {
      await this.#setAside(subscription, spent);
    } catch {
      return;
    }
    // Whoever asked got nothing, though there may be more behind it.
    if (!this.#closed && this.available(subscription)) this.tell(subscription);
  }

  /**
   * Waits out its backoff, or has failed as often as its policy allows and goes to the dead-letter topic in the same write, or is
   * past its retention and gone.
   * @param expired only what is, also when the write comes: it may have been extended meanwhile
   */
  async #setAside(
    subscription: SubscriptionState,
    leases: readonly Lease[],
    { died = false, expired = false } = {},
  ): Promise<void> {
    const forwarded = await this.#writeEnds(subscription, (ending) => {
      const forwarded = new Map<Lease, string>();
      for (const lease of leases) {
        if (!subscription.stands(lease) || (expired && lease.expiresAt > this.time)) continue;
        ending.push(lease);
        if (this.#isSpent(subscription, lease.attempt)) {
          const letter = deadLetterOf(subscription.config, lease);
          forwarded.set(lease, this.#options.append(subscription.config.deadLetterPolicy!.deadLetterTopic!, letter));
        } else if (!subscription.isOutdated(lease)) {
          subscription.nack(lease, this.time, died);
          continue;
        }
        subscription.ackNow(lease);
      }
      subscription.flush();
      return forwarded;
    });
    for (const [lease, id] of forwarded) this.settlements.note(subscription, lease, this.#clock.now(), id);
    this.#alarms.set(subscription, nextDueAt(subscription));
    if (subscription.waiting.size > 0 && this.available(subscription)) this.tell(subscription);
  }

  /** A write that ends leases. They stand again where it fails, at once: what comes after it in its group must not take them for settled. */
  async #writeEnds<T>(subscription: SubscriptionState, work: (ending: Lease[]) => T): Promise<T> {
    const ending: Lease[] = [];
    const undo = () => {
      for (const lease of ending.splice(0)) subscription.undoEnd(lease);
    };
    try {
      return await this.#database.write(() => {
        try {
          return work(ending);
        } catch (error) {
          undo();
          throw error;
        }
      });
    } catch (error) {
      undo();
      throw error;
    }
  }

  /** Whether so many attempts are all that its policy allows. Without its topic a message stays where it is. */
  #isSpent({ config: { deadLetterPolicy } }: SubscriptionState, attempts: number): boolean {
    if (!deadLetterPolicy) return false;
    const { deadLetterTopic = '', maxDeliveryAttempts = bounds.attempts.unset } = deadLetterPolicy;
    return attempts >= maxDeliveryAttempts && this.#options.hasTopic(deadLetterTopic);
  }

  #held<D extends Delivery>(subscription: SubscriptionState, deliveries: readonly D[]): [Lease[], D[]] {
    const held: Lease[] = [];
    const gone: D[] = [];
    for (const delivery of deliveries) {
      const lease = subscription.held(delivery.position, delivery.attempt, this.time);
      if (lease) held.push(lease);
      else gone.push(delivery);
    }
    return [held, gone];
  }

  /** Tells in the next turn of the loop, if there is something to lease then: it has much to pass over, or the next of an ordering key may have come up. */
  #askSoon(subscription: SubscriptionState): void {
    if (this.#asking.has(subscription)) return;
    this.#asking.add(subscription);
    setImmediate(() => {
      this.#asking.delete(subscription);
      if (this.#closed || subscription.ended) return;
      this.#alarms.set(subscription, nextDueAt(subscription));
      if (this.available(subscription)) this.tell(subscription);
    });
  }
}

/** When the next backoff ends; not while there is something to lease already, or nothing is given out. */
function nextDueAt({ config, hasCandidates, nextDueAt }: SubscriptionState): number {
  return hasCandidates || config.paused ? Number.POSITIVE_INFINITY : nextDueAt;
}

function earliest(subscription: SubscriptionState): number {
  return Math.min(nextDueAt(subscription), subscription.nextExpiryAt);
}
