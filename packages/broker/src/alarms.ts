import type { BrokerClock } from './clock.ts';

/**
 * One alarm for each thing, at or before the earliest moment that matters to it. It may come too early, where what it was set for was settled or put off
 * meanwhile: whoever hears it looks, and sets it anew.
 */
export class Alarms<T> {
  readonly #clock: BrokerClock;
  readonly #time: () => number;
  readonly #ring: (of: T) => void;
  readonly #set = new Map<T, { readonly at: number; readonly cancel: () => void }>();
  #closed = false;

  /** @param time what `at` is measured by */
  constructor(clock: BrokerClock, time: () => number, ring: (of: T) => void) {
    this.#clock = clock;
    this.#time = time;
    this.#ring = ring;
  }

  /** Infinity is never. One that is set for earlier stays. */
  set(of: T, at: number): void {
    if (this.#closed || at === Number.POSITIVE_INFINITY) return;
    const current = this.#set.get(of);
    if (current && current.at <= at) return;
    current?.cancel();
    const cancel = this.#clock.after(Math.max(0, at - this.#time()), () => {
      this.#set.delete(of);
      this.#ring(of);
    });
    this.#set.set(of, { at, cancel });
  }

  cancel(of: T): void {
    this.#set.get(of)?.cancel();
    this.#set.delete(of);
  }

  /** None rings any more, and none is set. */
  close(): void {
    this.#closed = true;
    for (const of of [...this.#set.keys()]) this.cancel(of);
  }
}
