/**
 * The lowest of things that come and go, without a walk over all: a binary heap. Nobody tells it what has gone; that is found out
 * when it comes up.
 */
export class Lowest<T> {
  readonly #rankOf: (thing: T) => number;
  #heap: T[] = [];
  /** So many are too many: most of them have gone. */
  #mostKept = 1_024;

  /** @param rankOf what they are compared by; of a thing that is in here it never changes */
  constructor(rankOf: (thing: T) => number) {
    this.#rankOf = rankOf;
  }

  add(thing: T): void {
    const heap = this.#heap;
    const rank = this.#rankOf(thing);
    let at = heap.push(thing) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#rankOf(heap[parent]!) <= rank) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = thing;
  }

  /** Undefined where none is there. It stays. */
  first(isThere: (thing: T) => boolean): T | undefined {
    if (this.#heap.length > this.#mostKept) {
      this.#heap = this.#heap.filter(isThere).sort((a, b) => this.#rankOf(a) - this.#rankOf(b));
      this.#mostKept = 2 * this.#heap.length + 1_024;
    }
    while (this.#heap.length > 0 && !isThere(this.#heap[0]!)) this.#removeFirst();
    return this.#heap[0];
  }

  /** All up to a rank, which go. */
  take(rank: number, isThere: (thing: T) => boolean): T[] {
    const taken: T[] = [];
    for (let first = this.first(isThere); first !== undefined; first = this.first(isThere)) {
      if (this.#rankOf(first) > rank) break;
      taken.push(first);
      this.#removeFirst();
    }
    return taken;
  }

  clear(): void {
    this.#heap = [];
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    const rank = this.#rankOf(last);
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#rankOf(heap[child + 1]!) < this.#rankOf(heap[child]!)) child++;
      if (this.#rankOf(heap[child]!) >= rank) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}
