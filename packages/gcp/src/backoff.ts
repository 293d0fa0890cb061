import type { Clock, Random } from '@dormouse/core';

export interface BackoffOptions {
  readonly clock: Pick<Clock, 'after'>;
  readonly random: Pick<Random, 'fraction'>;
  /** After the first try; doubles from there. */
  readonly firstMs: number;
  readonly longestMs: number;
}

/** How long to wait after a try, spread so that what failed together does not come back together. */
export class Backoff {
  readonly #options: BackoffOptions;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** @param tries how many there were, the first is 1 */
  ms(tries: number): number {
    const { random, firstMs, longestMs } = this.#options;
    return Math.min(longestMs, firstMs * 2 ** (tries - 1)) * (0.5 + random.fraction() / 2);
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#options.clock.after(ms, resolve));
  }
}
