import type { Database } from '@dormouse/broker';
import type { Clock, Logger } from '@dormouse/core';
import { causeOf } from '@dormouse/core';
import type { SqliteStateStore } from './state-store.ts';

const batchSize = 100;
const retryAfterMs = 1_000;

/**
 * Fires timers: the messages of those due enter the broker's log, in one transaction with the mark that they did.
 * Sleeps until the earliest one; a commit that sets an earlier timer wakes it. What fell due while the host was down
 * fires at start.
 */
export class Scheduler {
  readonly #database: Database;
  readonly #store: SqliteStateStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  #wakeAt = Number.POSITIVE_INFINITY;
  #cancel: () => void = () => {};
  #stopped = false;

  constructor(database: Database, store: SqliteStateStore, clock: Clock, log: Logger) {
    this.#database = database;
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /** Makes sure that it is awake by then. */
  wake(at: number): void {
    if (this.#stopped || at >= this.#wakeAt) return;
    this.#cancel();
    this.#wakeAt = at;
    this.#cancel = this.#clock.at(at, () => void this.#fire());
  }

  start(): void {
    const dueAt = this.#store.nextDueAt();
    if (dueAt !== undefined) this.wake(dueAt);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  async #fire(): Promise<void> {
    this.#wakeAt = Number.POSITIVE_INFINITY;
    try {
      await this.#database.write(() => {
        for (const timer of this.#store.due(this.#clock.now(), batchSize)) this.#store.fire(timer);
      });
      const next = this.#store.nextDueAt();
      if (next !== undefined) this.wake(next);
    } catch (error) {
      if (this.#stopped) return;
      this.#log.error('timer.failed', { cause: causeOf(error), retryAfterMs });
      this.wake(this.#clock.now() + retryAfterMs);
    }
  }
}
