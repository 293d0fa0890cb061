const pauseMs = 25;

/**
 * Waits for an observable fact: what `probe` gives once that is neither undefined, null nor false. The bound is generous, for
 * machines that have other work; a broken promise fails here with the fact's name.
 */
export async function until<T>(
  fact: string,
  probe: () => T | Promise<T>,
  boundMs = 120_000,
): Promise<NonNullable<Exclude<T, false>>> {
  const giveUpAt = Date.now() + boundMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== null && found !== false) return found as NonNullable<Exclude<T, false>>;
    if (Date.now() > giveUpAt) throw new Error(`not seen within ${boundMs / 1000} s: ${fact}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
