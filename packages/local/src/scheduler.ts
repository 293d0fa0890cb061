import {
  type Clock,
  causeOf,
  fireDue,
  type Logger,
  type StateStore,
  type StepPorts,
  strandedAfterMs,
} from '@dormouse/core';
import type { SqliteStateStore } from './state-store.ts';

const retryAfterMs = 1_000;

/** What a scheduler asks of a store beyond its port. */
export type TimerStore = StateStore & Pick<SqliteStateStore, 'endBackoffs' | 'nextDueAt'>;

/**
 * Fires timers: the message of one that is due leaves, in one commit with the mark that it did.
 * Sleeps until the earliest one; a commit that sets an earlier timer wakes it. What fell due while the host was down
 * fires at start. A deadline is a date: a clock that is set moves it. A backoff is not: no clock set back holds it up.
 * With a relay it also sends what nobody else did. Two at once do no harm.
 */
export class Scheduler {
  readonly #store: TimerStore;
  readonly #relay: StepPorts['relay'];
  readonly #clock: Clock;
  readonly #log: Logger;
  #wakeAt = Number.POSITIVE_INFINITY;
  /** The last date seen. Before the first look nobody knows whether the clock was set back. */
  #latest = Number.POSITIVE_INFINITY;
  #cancel: () => void = () => {};
  #firing = 0;
  #cancelSweep: (() => void) | undefined;
  #stopped = false;

  constructor(store: TimerStore, clock: Clock, log: Logger, relay?: StepPorts['relay']) {
    this.#store = store;
    this.#relay = relay;
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

  /** Something was committed for the relay: a while later nothing of it may be left. */
  expectSent(): void {
    if (this.#stopped || !this.#relay) return;
    this.#cancelSweep ??= this.#clock.after(strandedAfterMs, () => void this.#sweep(this.#clock.now()));
  }

  /** Timers, or messages of the outbox, are on their way into the broker's log. */
  get isFiring(): boolean {
    return this.#firing > 0;
  }

  start(): void {
    this.#awake();
    // Whoever committed it before is gone.
    void this.#sweep();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
    this.#cancelSweep?.();
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
      if (wasSetBack) await this.#store.endBackoffs(now);
      const ports = { store: this.#store, relay: this.#relay };
      const { failure } = await fireDue(ports, now, () => !this.#stopped);
      if (failure !== undefined) throw new Error(failure);
      const next = this.#store.nextDueAt();
      if (next !== undefined) this.wake(next, now);
    } catch (error) {
      if (this.#stopped) return;
      this.#log.error('timer.failed', { cause: causeOf(error), retryAfterMs });
      if (wasSetBack) this.#latest = Number.POSITIVE_INFINITY;
      this.#cancel();
      // Whoever is set for later must not take its place.
      this.#wakeAt = this.#clock.now() + retryAfterMs;
      this.#cancel = this.#clock.after(retryAfterMs, () => this.#awake());
    } finally {
      this.#firing--;
    }
  }

  /** @param before only what was committed by then. Default: everything */
  async #sweep(before?: number): Promise<void> {
    this.#cancelSweep = undefined;
    if (!this.#relay) return;
    this.#firing++;
    try {
      await this.#relay.drain(before === undefined ? {} : { before });
      if ((await this.#store.unsent({ limit: 1 })).length > 0) this.expectSent();
    } catch (error) {
      if (this.#stopped) return;
      this.#log.error('relay.failed', { cause: causeOf(error), retryAfterMs: strandedAfterMs });
      this.expectSent();
    } finally {
      this.#firing--;
    }
  }
}
