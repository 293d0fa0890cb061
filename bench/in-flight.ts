/** Does something so many times, at most so many at once. */
export async function inFlight(count: number, most: number, once: () => Promise<unknown>): Promise<void> {
  let left = count;
  const worker = async () => {
    while (left-- > 0) await once();
  };
  await Promise.all(Array.from({ length: Math.min(most, count) }, worker));
}
