import type { Clock } from '@dormouse/core';

/** Something that happens at a time. */
interface Coming {
  /** By steady time. */
  at: number;
  /** Where it waits for a date: a clock that is set moves it. */
  readonly date: number | undefined;
  /** Order among what happens in the same millisecond; then the order in which it was set. */
  readonly tie: number;
  readonly number: number;
  readonly callback: () => void;
  cancelled: boolean;
}

/**
 * Time that stands still while anything computes, and then goes to whatever comes next, however far away. Its date can
 * be set, as the clock of a machine can; how long things take is not touched by that.
 */
export class VirtualClock implements Clock {
  #steady = 0;
  #offset: number;
  #numbers = 0;
  #coming: Coming[] = [];

  constructor(now: number) {
    this.#offset = now;
  }

  readonly now = (): number => this.#steady + this.#offset;
  readonly steady = (): number => this.#steady;
  readonly after = (durationMs: number, callback: () => void): (() => void) => this.#set(durationMs, callback);
  readonly at = (time: number, callback: () => void): (() => void) =>
    this.#set(time - this.now(), callback, { date: time });

  /** Like `after`, at a place among what happens in the same millisecond. @param tie in [0, 1) */
  meanwhile(durationMs: number, tie: number, callback: () => void): () => void {
    return this.#set(durationMs, callback, { tie });
  }

  /** Sets the date, forward or back. */
  set(byMs: number): void {
    this.#offset += byMs;
    const all = this.#coming;
    this.#coming = [];
    for (const each of all) {
      if (each.date !== undefined) each.at = Math.max(this.#steady, each.date - this.#offset);
      this.#push(each);
    }
  }

  /** When the next thing happens, by steady time. */
  get next(): number | undefined {
    while (this.#coming[0]?.cancelled) this.#pop();
    return this.#coming[0]?.at;
  }

  /** Goes there, and lets it happen. False where nothing is to come. */
  step(): boolean {
    if (this.next === undefined) return false;
    const { at, callback } = this.#pop();
    this.#steady = Math.max(this.#steady, at);
    callback();
    return true;
  }

  #set(durationMs: number, callback: () => void, { date, tie = 0 }: { date?: number; tie?: number } = {}): () => void {
    const at = this.#steady + Math.max(0, Math.ceil(durationMs));
    const coming: Coming = { at, date, tie, number: this.#numbers++, callback, cancelled: false };
    this.#push(coming);
    return () => {
      coming.cancelled = true;
    };
  }

  #push(coming: Coming): void {
    const heap = this.#coming;
    let index = heap.push(coming) - 1;
    for (; index > 0; ) {
      const parent = (index - 1) >> 1;
      if (!before(coming, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = coming;
  }

  #pop(): Coming {
    const heap = this.#coming;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function before(one: Coming, other: Coming): boolean {
  return (one.at - other.at || one.tie - other.tie || one.number - other.number) < 0;
}
