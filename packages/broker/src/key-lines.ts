import type { Exception, Unsettled } from './exceptions.ts';
import type { Candidate } from './lanes.ts';
import type { OrderedKeys } from './ordered-keys.ts';
import type { Standing } from './standing.ts';

/** A row of `Exceptions.ofKey`. */
interface KeyedBatch {
  readonly last: number;
  readonly count: number;
  readonly publishedAt: number;
  readonly lane: string;
}

/** The messages of each ordering key in line, as the log has them: looked up by their key when somebody asks, and kept nowhere. */
export class KeyLines {
  readonly #standing: Standing;
  readonly #keys: OrderedKeys;

  constructor(standing: Standing, keys: OrderedKeys) {
    this.#standing = standing;
    this.#keys = keys;
  }

  /** Makes a key active by its first message; false where it is active already, or this is not its first. */
  begin(key: string, position: number): boolean {
    if (this.#keys.isActive(key) || this.first(key)?.position !== position) return false;
    this.#keys.activate(key);
    return true;
  }

  /** The first message of a key that is not settled. What is before it never comes again, and is not gone through again. */
  first(key: string): Unsettled | undefined {
    const { cursor, log } = this.#standing;
    const after = Math.max(cursor(), this.#keys.settledTo(key));
    const first = this.#next(key, after);
    const settledTo = (first?.position ?? log.end + 1) - 1;
    if (settledTo > after) this.#keys.remember(key, settledTo);
    return first;
  }

  /** What may go out right behind a message that is out: not what waits for a time. */
  nextOfRun(key: string, position: number): Candidate | undefined {
    const next = this.#next(key, position);
    return next && next.dueAt === null ? { ...next, key } : undefined;
  }

  /** The first message of a key that is not settled, after a position. */
  #next(key: string, after: number): Unsettled | undefined {
    const { exceptions, isSettled, log, retainedSince, shows } = this.#standing;
    const since = retainedSince();
    for (const row of exceptions.ofKey.iterate(key, after, log.end)) {
      const { last, count, publishedAt, lane } = row as unknown as KeyedBatch;
      if (publishedAt < since) continue;
      const first = Math.max(after, last - count) + 1;
      const rows = exceptions.within.all(first, last) as unknown as Exception[];
      const excepted = new Map(rows.map((each) => [each.position, each]));
      for (let position = first; position <= last; position++) {
        const exception = excepted.get(position);
        if (exception && exception.dueAt === null) continue;
        if (isSettled(position) || this.#keys.isAhead(key, position) || !shows(position)) continue;
        const { attempts = 0, deaths = 0 } = exception ?? {};
        const dueAt = exception?.leased === 0 ? exception.dueAt : null;
        return { position, lane, attempts, deaths, dueAt, hasRow: exception !== undefined };
      }
    }
    return undefined;
  }
}
