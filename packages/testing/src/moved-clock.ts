import { type Clock, systemClock } from '@dormouse/core';

interface Waiting {
  readonly dueAt: number;
  readonly callback: () => void;
  cancel: () => void;
}

/** The machine's time and what it was moved on by. What is real meanwhile, a socket or a disk, goes on as ever. */
export class MovedClock implements Clock {
  #movedMs = 0;
  readonly #waiting = new Set<Waiting>();

  readonly now = (): number => Date.now() + this.#movedMs;

  readonly steady = (): number => performance.now() + this.#movedMs;

  at(time: number, callback: () => void): () => void {
    return this.after(time - this.now(), callback);
  }

  after(durationMs: number, callback: () => void): () => void {
    const waiting: Waiting = { dueAt: this.steady() + durationMs, callback, cancel: () => {} };
    this.#arm(waiting);
    return () => {
      waiting.cancel();
      this.#waiting.delete(waiting);
    };
  }

  /** Calls back whom that makes due, in the order of their times. */
  move(ms: number): void {
    this.#movedMs += ms;
    for (const waiting of [...this.#waiting].sort((a, b) => a.dueAt - b.dueAt)) {
      if (!this.#waiting.delete(waiting)) continue;
      waiting.cancel();
      if (waiting.dueAt <= this.steady()) waiting.callback();
      else this.#arm(waiting);
    }
  }

  #arm(waiting: Waiting): void {
    this.#waiting.add(waiting);
    waiting.cancel = systemClock.after(waiting.dueAt - this.steady(), () => {
      this.#waiting.delete(waiting);
      waiting.callback();
    });
  }
}
