/**
 * The lowest of things that come and go, without a walk over all: a binary heap. Nobody tells it what has gone: that is found out when it
 * comes up, and when more were added than there are. So it holds twice what is there, and some, whether anyone asks or not.
 */
export class Lowest<T> {
  readonly #rankOf: (thing: T) => number;
  readonly #isThere: (thing: T) => boolean;
  #heap: T[] = [];
  /** So many are too many: most of them have gone. */
  #mostKept = 1_024;

  /**
   * @param rankOf what they are compared by; of a thing that is in here it never changes
   * @param isThere whether one is there still; one that comes back is to be added again
   */
  constructor(rankOf: (thing: T) => number, isThere: (thing: T) => boolean) {
    this.#rankOf = rankOf;
    this.#isThere = isThere;
  }

  add(thing: T): void {
    if (this.#heap.length >= this.#mostKept) this.#letGo();
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
  first(): T | undefined {
    while (this.#heap.length > 0 && !this.#isThere(this.#heap[0]!)) this.#removeFirst();
    return this.#heap[0];
  }

  /** All up to a rank, which go. */
  take(rank: number): T[] {
    const taken: T[] = [];
    for (let first = this.first(); first !== undefined; first = this.first()) {
      if (this.#rankOf(first) > rank) break;
      taken.push(first);
      this.#removeFirst();
    }
    return taken;
  }

  #letGo(): void {
    this.#heap = this.#heap.filter(this.#isThere);
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at--) this.#sink(at);
    this.#mostKept = 2 * this.#heap.length + 1_024;
  }

  #removeFirst(): void {
    const last = this.#heap.pop()!;
    if (this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink(0);
  }

  /** To below all that are lower. */
  #sink(from: number): void {
    const heap = this.#heap;
    const thing = heap[from]!;
    const rank = this.#rankOf(thing);
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#rankOf(heap[child + 1]!) < this.#rankOf(heap[child]!)) child++;
      if (this.#rankOf(heap[child]!) >= rank) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = thing;
  }
}
