/** Single digits, as Google begins. */
const firstSize = 4;
/** Up to here a window doubles with every round of pushes that are acked; beyond it grows by one a round. */
const linearFrom = 3_000;
/** Beyond `linearFrom` it must go better than this, or the window falls back to there. */
const health = { failures: 0.01, latencyMs: 1_000 };
/** Averages go over so many pushes, the last ones most. */
const averagedOver = 128;
const backoff = { minMs: 100, maxMs: 60_000 };
/** Four acks undo one failure: where one push of five fails, the backoff stays what it is. */
const calming = 2 ** -0.25;

/** The place of one push in a window. */
export interface Place {
  /** Milliseconds, steady. */
  readonly startedAt: number;
  readonly round: number;
}

/**
 * How many pushes an endpoint may have outstanding, and until when it is left alone.
 *
 * Two things hold pushes back, both for all messages of the subscription:
 *   the window   how many may be outstanding. +1 for an ack while it is used by half or more (so it doubles with each round
 *                trip), half of it for a failure, never less than 1. From 3,000 on it grows by 1 a round trip, and only
 *                while more than 99 % are acked within a second on the average.
 *   the backoff  100 ms to 60 s in which nothing is pushed, after a failure. It doubles with a failure, and shrinks with
 *                acks; below 100 ms it is over.
 *
 * Invariants: 1 <= size. Nothing is taken while `outstanding` >= size, nor before `resumesAt`. A window that shrinks ends no
 * push. Of pushes that were outstanding together, only the first to fail raises the backoff: they tell of one fault, and a
 * hundred at once would make a minute of what lasted a moment. An ack ends no pause that has begun; when it is over, the
 * first push that is acked lets the next go at once, so an endpoint that is back is served at full rate within seconds.
 *
 * Memory only: what was learnt of an endpoint is learnt again after a restart.
 *
 * Source: cloud.google.com/pubsub/docs/push, "Push backoff" and "Delivery rate".
 */
export class PushWindow {
  #size = firstSize;
  #outstanding = 0;
  /** Grows with each raise of the backoff. */
  #round = 0;
  #backoffMs = 0;
  #resumesAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #latencyMs = 0;

  get size(): number {
    return Math.floor(this.#size);
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /** Nothing is taken before; in the past where nothing failed lately. Milliseconds, steady. */
  get resumesAt(): number {
    return this.#resumesAt;
  }

  take(now: number): Place | undefined {
    if (this.#outstanding >= this.size || now < this.#resumesAt) return undefined;
    this.#outstanding++;
    return { startedAt: now, round: this.#round };
  }

  /** The place is free again. What its push came to was told before, or is not known. */
  leave(): void {
    this.#outstanding--;
  }

  acked({ startedAt, round }: Place, now: number): void {
    this.#average(0, now - startedAt);
    const isUsed = this.#outstanding * 2 >= this.#size;
    if (this.#size < linearFrom) this.#size += isUsed ? 1 : 0;
    else if (this.#failures >= health.failures || this.#latencyMs >= health.latencyMs) this.#size = linearFrom;
    else if (isUsed) this.#size += 1 / this.#size;
    if (round !== this.#round) return;
    this.#backoffMs *= calming;
    if (this.#backoffMs < backoff.minMs) this.#backoffMs = 0;
  }

  failed({ startedAt, round }: Place, now: number): void {
    this.#average(1, now - startedAt);
    this.#size = Math.max(1, this.#size / 2);
    if (round !== this.#round) return;
    this.#round++;
    this.#backoffMs = Math.min(backoff.maxMs, Math.max(backoff.minMs, this.#backoffMs * 2));
    this.#resumesAt = now + this.#backoffMs;
  }

  #average(failure: number, latencyMs: number): void {
    this.#failures += (failure - this.#failures) / averagedOver;
    this.#latencyMs += (latencyMs - this.#latencyMs) / averagedOver;
  }
}
