import type { Database } from '@dormouse/broker';
import type { Clock, Logger } from '@dormouse/core';
import { causeOf } from '@dormouse/core';
import type { SqliteStateStore } from './state-store.ts';

const batchSize = 100;
const retryAfterMs = 1_000;

/**
 * Fires timers: the message of one that is due enters the broker's log, in one transaction with the mark that it did.
 * Sleeps until the earliest one; a commit that sets an earlier timer wakes it. What fell due while the host was down
 * fires at start. A deadline is a date: a clock that is set moves it. A backoff is not: no clock set back holds it up.
 */
export class Scheduler {
  readonly #database: Database;
  readonly #store: SqliteStateStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  #wakeAt = Number.POSITIVE_INFINITY;
  /** The last date seen. Before the first look nobody knows whether the clock was set back. */
  #latest = Number.POSITIVE_INFINITY;
  #cancel: () => void = () => {};
  #firing = 0;
  #stopped = false;

  constructor(database: Database, store: SqliteStateStore, clock: Clock, log: Logger) {
    this.#database = database;
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /** Makes sure that it is awake by then. @param saidAt the date when that was said: the clock may have gone back since */
  wake(at: number, saidAt: number): void {
    if (this.#stopped) return;
    const now = this.#clock.now();
    this.#latest = Math.max(this.#latest, saidAt);
    if (now < this.#latest) {
      // Set back: what was the earliest is not any more.
      this.#awake();
      return;
    }
    this.#latest = now;
    if (at >= this.#wakeAt) return;
    this.#cancel();
    this.#wakeAt = at;
    // By its date or by the time it takes, whichever is first: a look too early costs nothing.
    const awake = () => this.#awake();
    const cancels = [this.#clock.at(at, awake), this.#clock.after(at - now, awake)];
    this.#cancel = () => {
      for (const cancel of cancels) cancel();
    };
  }

  /** Timers are on their way into the broker's log. */
  get isFiring(): boolean {
    return this.#firing > 0;
  }

  start(): void {
    this.#awake();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #awake(): void {
    this.#cancel();
    this.#wakeAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    const wasSetBack = now < this.#latest;
    this.#latest = now;
    void this.#fire(now, wasSetBack);
  }

  async #fire(now: number, wasSetBack: boolean): Promise<void> {
    this.#firing++;
    try {
      if (wasSetBack) await this.#database.write(() => this.#store.endBackoffs(now));
      const due = this.#store.due(now, batchSize);
      // Each in a work of its own: one that cannot leave holds up no other. They share a group all the same.
      const fired = await Promise.allSettled(due.map((timer) => this.#database.write(() => this.#store.fire(timer))));
      const failed = fired.find(({ status }) => status === 'rejected');
      if (failed) throw (failed as PromiseRejectedResult).reason;
      const next = this.#store.nextDueAt();
      if (next !== undefined) this.wake(next, now);
    } catch (error) {
      if (this.#stopped) return;
      this.#log.error('timer.failed', { cause: causeOf(error), retryAfterMs });
      if (wasSetBack) this.#latest = Number.POSITIVE_INFINITY;
      this.#cancel();
      this.#cancel = this.#clock.after(retryAfterMs, () => this.#awake());
    } finally {
      this.#firing--;
    }
  }
}
