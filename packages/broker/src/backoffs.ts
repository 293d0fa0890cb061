import { type Candidate, candidatesAtATime } from './lanes.ts';
import type { Standing } from './standing.ts';
import { millisecondsOf, type SubscriptionConfig } from './subscription-config.ts';

/** A place among what waits, in the order of its time. */
interface Due {
  readonly at: number;
  readonly position: number;
}

const farPast: Due = { at: -1, position: -1 };
const ofPushes = { minMs: 100, maxMs: 60_000 };

/**
 * The messages that wait until their backoff is over. They are on disk, in the order of their times; memory knows when the next is due, and how far what is due has
 * become candidates.
 */
export class Backoffs {
  readonly #standing: Standing;
  /** What is due up to here has been recalled: so what is out is not gone through again and again. */
  #recalledTo = farPast;
  /** The first that was due and behind another of its key, since all that was due was gone through. */
  #blocked: Due | undefined;
  /** The earliest that a waiting message becomes due, as far as known; Infinity where none waits. */
  nextDueAt = Number.POSITIVE_INFINITY;

  constructor(standing: Standing) {
    this.#standing = standing;
  }

  /** Set aside until a time. */
  wait(at: number, position: number): void {
    this.nextDueAt = Math.min(this.nextDueAt, at);
    if (!isAfter(at, position, this.#recalledTo)) this.#recalledTo = { at, position: position - 1 };
  }

  /** What has its backoff behind it becomes a candidate, so many at a time, the longest due first: what fails again goes behind. */
  recall(now: number): void {
    const { exceptions, isOut, keyOf, begin, drop, lanes, log, retainedSince } = this.#standing;
    if (this.nextDueAt > now || lanes.recalled > 0) return;
    const since = retainedSince();
    let isFull = false;
    for (const row of exceptions.due.iterate(now, this.#recalledTo.at, this.#recalledTo.position)) {
      const { position, attempts, deaths, lane, dueAt } = row as unknown as DueRow;
      // Suspects go one by one: however many there are, the others pass them.
      if (deaths > 0 && lanes.suspects.length === candidatesAtATime) {
        isFull = true;
        continue;
      }
      if (!isFull) this.#recalledTo = { at: dueAt, position };
      if (isOut(position)) continue;
      // Given back after it had been recalled.
      if (deaths > 0 && lanes.suspects.some((each) => each.position === position)) continue;
      const key = keyOf({ orderingKey: row.key as string });
      if ((row.publishedAt as number) < since) {
        drop(position, key);
        continue;
      }
      // Behind another of its key, it comes up when that is settled.
      if (key !== undefined && !begin(key, position)) {
        this.#blocked ??= { at: dueAt, position: position - 1 };
        continue;
      }
      lanes.recall(lane, log.end, { position, attempts, deaths, hasRow: true, key });
      if (lanes.recalled === candidatesAtATime) return;
    }
    if (isFull) return;
    if (this.#blocked) this.#recalledTo = this.#blocked;
    this.#blocked = undefined;
    this.findNext(now);
  }

  /** Asks the disk when the next is due. */
  findNext(after = -1): void {
    const next = this.#standing.exceptions.nextDue.get(after)?.dueAt as number | undefined;
    this.nextDueAt = next ?? Number.POSITIVE_INFINITY;
  }

  clear(): void {
    this.#recalledTo = farPast;
    this.#blocked = undefined;
    this.nextDueAt = Number.POSITIVE_INFINITY;
  }
}

/** Of `Exceptions.due`. */
type DueRow = Pick<Candidate, 'position' | 'attempts' | 'deaths'> & { readonly lane: string; readonly dueAt: number };

function isAfter(at: number, position: number, due: Due): boolean {
  return at > due.at || (at === due.at && position > due.position);
}

/** How long a message waits after so many attempts. Without a policy a pull may have it again at once; an endpoint is given time. */
export function backoffMs({ retryPolicy, pushConfig }: SubscriptionConfig, attempts: number): number {
  if (!retryPolicy && !pushConfig?.pushEndpoint) return 0;
  const minMs = millisecondsOf(retryPolicy?.minimumBackoff) ?? ofPushes.minMs;
  const maxMs = millisecondsOf(retryPolicy?.maximumBackoff) ?? ofPushes.maxMs;
  return Math.min(maxMs, minMs * 2 ** Math.min(attempts - 1, 30));
}
