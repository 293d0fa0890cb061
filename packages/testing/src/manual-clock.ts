import type { Clock } from '@dormouse/core';

/** Time that moves only when told to. Callbacks run in the order of their times. */
export class ManualClock implements Clock {
  #now: number;
  #waiting: { readonly time: number; readonly callback: () => void }[] = [];

  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now;
  }

  readonly now = (): number => this.#now;

  readonly steady = this.now;

  after(durationMs: number, callback: () => void): () => void {
    return this.at(this.#now + durationMs, callback);
  }

  at(time: number, callback: () => void): () => void {
    const waiting = { time, callback };
    this.#waiting.push(waiting);
    return () => {
      this.#waiting = this.#waiting.filter((each) => each !== waiting);
    };
  }

  /** The earliest time anyone waits for. */
  get next(): number | undefined {
    return this.#waiting.length === 0 ? undefined : Math.min(...this.#waiting.map(({ time }) => time));
  }

  advance(ms: number): void {
    const until = this.#now + ms;
    for (let next = this.next; next !== undefined && next <= until; next = this.next) {
      this.#now = Math.max(this.#now, next);
      const due = this.#waiting.find(({ time }) => time === next)!;
      this.#waiting = this.#waiting.filter((each) => each !== due);
      due.callback();
    }
    this.#now = until;
  }
}
