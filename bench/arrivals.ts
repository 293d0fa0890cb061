/** Journeys that are under way, each with one who waits for its end. */
export class Arrivals {
  readonly #waiting = new Map<string, () => void>();

  /** Begins to wait, then begins the journey; resolves when it has come to its end. */
  async of(id: string, begin: () => Promise<unknown>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(id, resolve);
    await begin();
    await promise;
  }

  arrive(id: string): void {
    this.#waiting.get(id)!();
    this.#waiting.delete(id);
  }
}
