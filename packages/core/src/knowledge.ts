import type { Ref, Versioned } from './state-store.ts';
import { isPassing } from './step.ts';

/**
 * What the runs of one delivery have read. A run after a conflict goes on with it, where the store has told how what moved stands: whatever of
 * it matters is a precondition, so what is out of date is refused and told anew.
 */
export class Knowledge {
  #documents: ReadonlyMap<Ref, Versioned> = new Map();

  get documents(): readonly Versioned[] {
    return [...this.#documents.values()];
  }

  /** Nothing was read, or nothing of it counts any more. */
  get isNone(): boolean {
    return this.#documents.size === 0;
  }

  of(ref: Ref): Versioned | undefined {
    return this.#documents.get(ref);
  }

  add(documents: readonly Versioned[]): void {
    this.#documents = new Map([...this.documents, ...documents].map((each) => [each.ref, each]));
  }

  /** After a conflict. @param found how documents stand now; none where the store has not said: then the next run begins anew */
  renew(found: readonly Versioned[]): void {
    const kept = found.length === 0 ? [] : [...this.documents, ...found].filter((each) => !isPassing(each));
    this.#documents = new Map();
    this.add(kept);
  }
}
