import { type Clock, causeOf, type Logger, type Ref, type StateStore } from '@dormouse/core';

const everyMs = 1_000;

interface Watched {
  readonly watchers: Set<() => void>;
  /** Cursor of the last entry seen. */
  after: string | undefined;
  cancel: () => void;
}

/**
 * Tells who watches a workflow that its log has grown. Firestore tells nobody who asks by REST, so it is asked once a
 * second, for what is new, and only while somebody watches.
 */
export class LogWatch {
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #watched = new Map<Ref, Watched>();

  constructor({ store, clock }: { store: StateStore; clock: Clock }, log: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /** Calls back after each look that found something new. Returns what ends it. */
  watch(workflow: Ref, onChange: () => void): () => void {
    const watched = this.#watched.get(workflow) ?? this.#begin(workflow);
    watched.watchers.add(onChange);
    return () => {
      watched.watchers.delete(onChange);
      if (watched.watchers.size > 0) return;
      watched.cancel();
      this.#watched.delete(workflow);
    };
  }

  #begin(workflow: Ref): Watched {
    const watched: Watched = { watchers: new Set(), after: undefined, cancel: () => {} };
    this.#watched.set(workflow, watched);
    this.#wait(workflow, watched);
    return watched;
  }

  #wait(workflow: Ref, watched: Watched): void {
    watched.cancel = this.#clock.after(everyMs, () => void this.#look(workflow, watched));
  }

  async #look(workflow: Ref, watched: Watched): Promise<void> {
    const { after } = watched;
    try {
      const query = { workflow, ...(after !== undefined && { after }) };
      for await (const { cursor } of this.#store.log(query)) watched.after = cursor;
    } catch (error) {
      // The next look may be answered.
      this.#log.warn('watch.failed', { workflow, cause: causeOf(error) });
    }
    if (watched.watchers.size === 0) return;
    if (watched.after !== after) for (const onChange of watched.watchers) onChange();
    this.#wait(workflow, watched);
  }
}
