import type { Ref, Versioned } from './state-store.ts';
import { isPassing } from './step.ts';

/**
 * What the runs of one delivery have read. After a conflict a handler is shown only what the store has told then, or what is read anew, so that it sees no
 * document older than another: it may act outside on what it sees. What only the delivery itself goes by stays: each of that is a precondition.
 */
export class Knowledge {
  #documents: ReadonlyMap<Ref, Versioned> = new Map();
  #again: readonly Ref[] = [];
  #isNew = true;

  get documents(): readonly Versioned[] {
    return [...this.#documents.values()];
  }

  /** No run has been before. */
  get isNew(): boolean {
    return this.#isNew;
  }

  /** What the run before has asked for, and what is to be read anew: with all else, in one request. */
  get again(): readonly Ref[] {
    return this.#again;
  }

  of(ref: Ref): Versioned | undefined {
    return this.#documents.get(ref);
  }

  add(documents: readonly Versioned[]): void {
    this.#documents = new Map([...this.documents, ...documents].map((each) => [each.ref, each]));
  }

  /**
   * After a conflict.
   * @param found how documents stand now; none where the store has not said: then the next run begins anew
   * @param seen what the handler has asked for
   * @param own what it never sees
   */
  renew(found: readonly Versioned[], seen: readonly Versioned[], own: ReadonlySet<Ref>): void {
    this.#isNew = false;
    const results = seen.filter((each) => each.ref.startsWith('activities/'));
    const kept = [...this.documents.filter(({ ref }) => own.has(ref)), ...results, ...found];
    this.#documents = new Map();
    this.add((found.length > 0 ? kept : results).filter((each) => !isPassing(each)));
    this.#again = seen.map(({ ref }) => ref).filter((ref) => !this.of(ref));
  }
}
