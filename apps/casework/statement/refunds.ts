import { compareDates } from './calendar.ts';
import type { RefundPromise, Statement, StatementLine } from './statement.ts';

/** A promise of a refund and the part of it that no refund covers. */
export type BrokenPromise = { readonly promise: RefundPromise; readonly uncoveredMinor: number };

/**
 * The promises due inside the period that were not kept in full. They are taken in order of `dueBy`, then position; each
 * uses up what is left of its merchant's refunds dated `promisedAt` to `dueBy`, in order of date, then position.
 */
export function brokenPromises({ lines, period, terms }: Statement): BrokenPromise[] {
  const refunds = Map.groupBy(
    lines.filter(({ kind }) => kind === 'refund'),
    ({ merchant }) => merchant,
  );
  const pools = new Map(Array.from(refunds, ([merchant, ofMerchant]) => [merchant, new RefundPool(ofMerchant)]));
  return (terms?.refundsPromised ?? [])
    .filter(({ dueBy }) => period.from <= dueBy && dueBy <= period.to)
    .toSorted((a, b) => compareDates(a.dueBy, b.dueBy))
    .map((promise) => ({
      promise,
      uncoveredMinor: promise.amountMinor - (pools.get(promise.merchant)?.use(promise) ?? 0),
    }))
    .filter(({ uncoveredMinor }) => uncoveredMinor > 0);
}

/** One merchant's refunds and what is left of each. Used up ones are skipped, so that many promises stay cheap. */
class RefundPool {
  readonly #dates: readonly string[];
  readonly #left: number[];
  /** Where to look for the next refund with something left, from each position; own position: here. */
  readonly #next: number[];

  constructor(refunds: readonly StatementLine[]) {
    const inOrder = refunds.toSorted((a, b) => compareDates(a.date, b.date));
    this.#dates = inOrder.map(({ date }) => date);
    this.#left = inOrder.map(({ amountMinor }) => amountMinor);
    this.#next = Array.from({ length: inOrder.length + 1 }, (_, position) => position);
  }

  /** How much of the promise the refunds cover; that much of them is used up. */
  use({ amountMinor, promisedAt, dueBy }: RefundPromise): number {
    let used = 0;
    let at = this.#nextLeft(this.#firstSince(promisedAt));
    while (used < amountMinor && at < this.#dates.length && this.#dates[at]! <= dueBy) {
      const taken = Math.min(this.#left[at]!, amountMinor - used);
      used += taken;
      this.#left[at]! -= taken;
      if (this.#left[at] === 0) this.#next[at] = at + 1;
      at = this.#nextLeft(at);
    }
    return used;
  }

  #firstSince(date: string): number {
    let [low, high] = [0, this.#dates.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#dates[middle]! < date) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #nextLeft(from: number): number {
    let at = from;
    while (this.#next[at] !== at) {
      // Halves the way for whoever comes next.
      this.#next[at] = this.#next[this.#next[at]!]!;
      at = this.#next[at]!;
    }
    return at;
  }
}
