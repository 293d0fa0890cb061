import { Batch, type BatchRow } from './batch.ts';
import { candidatesAtATime, type Lane } from './lanes.ts';
import type { Standing } from './standing.ts';

/** How many messages and rows of the log may still be looked at in this turn of the loop. */
export interface Looks {
  left: number;
}

/** Of one statement, where those before brought nothing. */
const mostBatchesAStatement = 512;
const noPositions: ReadonlySet<number> = new Set();

/** Finds what may be leased among the messages of a lane that were not looked at: each is looked at once, in order, and the head of the lane is after it then. */
export class Scan {
  readonly #standing: Standing;

  constructor(standing: Standing) {
    this.#standing = standing;
  }

  /** Finds candidates of a lane from its head on, as many as are wanted where it is the only one. */
  look(lane: Lane, wanted: number, looks: Looks): void {
    const { exceptions, lanes, log } = this.#standing;
    const most = lanes.share(candidatesAtATime, wanted);
    let atATime = most;
    while (lane.unseen.length === 0 && lane.head < lane.end && looks.left > 0) {
      looks.left -= atATime;
      const reach = exceptions.reach.get(lane.name, lane.head, log.end, atATime - 1)?.last as number | undefined;
      // One at a time: together they may be much.
      for (const row of exceptions.scan.iterate(lane.name, lane.head, reach ?? log.end)) {
        const batch = new Batch(row as unknown as BatchRow);
        looks.left -= batch.count;
        if (!this.#lookInto(lane, batch, most, this.#exceptedIn(batch))) return;
      }
      lane.head = reach ?? log.end;
      atATime = Math.min(2 * atATime, mostBatchesAStatement);
    }
  }

  /** The same of what was just published, and need not be read. It is right behind the head of the lane. */
  lookAt(lane: Lane, batches: readonly Batch[]): void {
    const most = this.#standing.lanes.share(candidatesAtATime);
    for (const batch of batches) if (!this.#lookInto(lane, batch, most)) return;
  }

  /** The messages of a batch that have a row, where it has others as well. */
  #exceptedIn({ first, last, count }: Batch): ReadonlySet<number> {
    if (count === 1) return noPositions;
    return new Set(this.#standing.exceptions.within.all(first, last).map(({ position }) => position as number));
  }

  /** Looks at the messages of a batch from the head of its lane on. False where there are enough candidates before its end. */
  #lookInto(lane: Lane, batch: Batch, most: number, excepted = noPositions): boolean {
    const standing = this.#standing;
    const isRetained = batch.publishedAt >= standing.retainedSince();
    const key = standing.keyOf(batch);
    for (let position = Math.max(batch.first, lane.head + 1); isRetained && position <= batch.last; position++) {
      if (lane.unseen.length >= most) return false;
      lane.head = position;
      if (excepted.has(position) || standing.isOut(position)) continue;
      if (!standing.shows(position, batch) || (key !== undefined && !standing.begin(key, position))) continue;
      lane.unseen.push({ position, attempts: 0, deaths: 0, hasRow: false, key, message: batch.small(position) });
    }
    lane.head = batch.last;
    return true;
  }
}
