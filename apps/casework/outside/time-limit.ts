import type { Clock } from '@dormouse/core';

/** A signal that aborts when so long has passed on the clock. `using` it gives the clock back. */
export function timeLimit(clock: Clock, ms: number): Disposable & { readonly signal: AbortSignal } {
  const over = new AbortController();
  const cancel = clock.after(ms, () => over.abort());
  return { signal: over.signal, [Symbol.dispose]: cancel };
}
