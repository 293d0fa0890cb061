import type { Broker, BrokerClock } from './broker.ts';

const soonMs = 1_000;
const latestMs = 3_600_000;
/** One to three milliseconds of the loop. */
const rowsAtATime = 500;

/**
 * Lets go of what a broker need not keep: messages that nobody can have any more, expired snapshots, idle subscriptions.
 * A second after something happened, a few rows at a time so that publishing goes on between, and else once an hour.
 */
export class Housekeeping {
  readonly #broker: Broker;
  readonly #clock: BrokerClock;
  #cancel: (() => void) | undefined;
  #isSoon = false;
  #stopped = false;
  #round: Promise<void> = Promise.resolve();

  constructor(broker: Broker, clock: BrokerClock) {
    this.#broker = broker;
    this.#clock = clock;
    this.#wait(soonMs);
  }

  /** Something was published or settled. */
  notice(): void {
    if (this.#isSoon || this.#stopped) return;
    this.#isSoon = true;
    this.#wait(soonMs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#round;
  }

  #wait(ms: number): void {
    this.#cancel?.();
    this.#cancel = this.#clock.after(ms, () => {
      this.#cancel = undefined;
      this.#isSoon = false;
      this.#round = this.#round.then(() => this.#tidy());
    });
  }

  async #tidy(): Promise<void> {
    try {
      await this.#broker.removeExpired();
      while (!this.#stopped && (await this.#broker.prune(rowsAtATime)) > 0);
    } catch {
      // The disk would not take it. Whoever publishes is told; here the next round makes it good.
    }
    if (!this.#stopped && this.#cancel === undefined) this.#wait(latestMs);
  }
}
