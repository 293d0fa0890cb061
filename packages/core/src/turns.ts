import type { Clock } from './clock.ts';

/** So long a turn lasts at most: whoever is slow holds up nobody for longer. */
const longestMs = 1_000;

export interface Turn {
  /** Others had theirs meanwhile. */
  readonly hasWaited: boolean;
  end(): void;
}

/** One at a time, by key, in the order in which they came. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();
  readonly #clock: Pick<Clock, 'after'>;

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock;
  }

  /**
   * Resolves when all before it are over, or with the signal. It lasts until it is ended, for a second at most.
   */
  async take(key: string, signal: AbortSignal): Promise<Turn> {
    const before = this.#last.get(key);
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const last = Promise.all([before, over]);
    this.#last.set(key, last);
    void last.then(() => this.#last.get(key) === last && this.#last.delete(key));
    const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
    if (signal.aborted) abort();
    else signal.addEventListener('abort', () => abort(), { once: true });
    await Promise.race([before, aborted]);
    const cancel = this.#clock.after(longestMs, resolve);
    const end = () => {
      cancel();
      resolve();
    };
    return { end, hasWaited: before !== undefined };
  }
}
