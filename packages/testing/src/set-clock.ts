import type { Clock } from '@dormouse/core';

/** Time by hand, and a date that can be set. */
export class SetClock implements Clock {
  #time = 0;
  #date = Date.UTC(2026, 0, 1);
  #waiting = new Set<{ readonly due: () => boolean; readonly callback: () => void }>();

  readonly now = () => this.#date + this.#time;
  readonly steady = () => this.#time;
  readonly at = (time: number, callback: () => void) => this.#wait(() => this.now() >= time, callback);
  readonly after = (durationMs: number, callback: () => void) => {
    const until = this.#time + durationMs;
    return this.#wait(() => this.#time >= until, callback);
  };

  set(byMs: number): void {
    this.#date += byMs;
    this.pass(0);
  }

  pass(ms: number): void {
    this.#time += ms;
    for (const waiting of this.#waiting) {
      if (!this.#waiting.has(waiting) || !waiting.due()) continue;
      this.#waiting.delete(waiting);
      waiting.callback();
    }
  }

  #wait(due: () => boolean, callback: () => void): () => void {
    const waiting = { due, callback };
    this.#waiting.add(waiting);
    return () => this.#waiting.delete(waiting);
  }
}
