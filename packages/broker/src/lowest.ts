/**
 * The lowest of numbers that come and go, without a walk over all: a binary heap. Nobody tells it what has gone; that is found out
 * when it comes up.
 */
export class Lowest {
  #heap: number[] = [];
  /** So many are too many: most of them have gone. */
  #mostKept = 1_024;

  add(number: number): void {
    const heap = this.#heap;
    let at = heap.push(number) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= number) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = number;
  }

  /** Infinity where none is there. */
  of(isThere: (number: number) => boolean): number {
    if (this.#heap.length > this.#mostKept) {
      this.#heap = this.#heap.filter(isThere).sort((a, b) => a - b);
      this.#mostKept = 2 * this.#heap.length + 1_024;
    }
    while (this.#heap.length > 0 && !isThere(this.#heap[0]!)) this.#removeFirst();
    return this.#heap[0] ?? Number.POSITIVE_INFINITY;
  }

  clear(): void {
    this.#heap = [];
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= last) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}
