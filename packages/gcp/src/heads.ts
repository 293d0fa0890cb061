import { firstHash, type Ref, refOf, workflowOf } from '@dormouse/core';
import type { Backoff } from './backoff.ts';
import type { Firestore, FirestoreDocument, FirestoreWrite } from './firestore.ts';
import { GoogleError } from './google-error.ts';
import { integer, numberOf, text, textOf, texts, textsOf } from './value.ts';

/** Where a chain ends; of a workflow also how far its log and outbox are numbered, and what of the outbox is not sent. */
export interface Head {
  seq: number;
  hash: string;
  /** The last number given. */
  position: number;
  readonly unsent: string[];
  /** As it was read; undefined where there was none. */
  readonly updateTime: string | undefined;
}

const remembered = 2_000;
const maxTries = 10;

/**
 * The heads of chains, at `heads/<chain>`: read along with the documents they belong to and remembered, since a unit needs them
 * only at its commit, where their update time is a precondition: one that is out of date refuses the commit and is read anew.
 */
export class Heads {
  readonly #firestore: Firestore;
  readonly #backoff: Backoff;
  readonly #known = new Map<Ref, Head>();
  readonly #turns = new Map<Ref, Promise<unknown>>();

  constructor(firestore: Firestore, backoff: Backoff) {
    this.#firestore = firestore;
    this.#backoff = backoff;
  }

  /** Paths of heads that a unit about these documents will need, and that are not known. */
  unknownOf(refs: readonly Ref[]): string[] {
    return refs.filter((ref) => workflowOf(ref) !== undefined && !this.#known.has(ref)).map(pathOf);
  }

  learn(paths: readonly string[], found: readonly (FirestoreDocument | undefined)[]): void {
    for (const [index, path] of paths.entries()) this.#remember(chainOf(path), headOf(found[index]));
  }

  /** Copies, to be moved on. What is known is taken at once: while the others are read it may be forgotten. */
  async of(chains: readonly Ref[]): Promise<Map<Ref, Head>> {
    const heads = new Map(chains.map((chain) => [chain, this.#known.get(chain)]));
    const unknown = chains.filter((chain) => heads.get(chain) === undefined);
    const found = await this.#firestore.get(unknown.map(pathOf));
    for (const [index, chain] of unknown.entries()) {
      const head = headOf(found[index]);
      this.#remember(chain, head);
      heads.set(chain, head);
    }
    return new Map([...heads].map(([chain, head]) => [chain, copy(head!)]));
  }

  forget(chains: readonly Ref[]): void {
    for (const chain of chains) this.#known.delete(chain);
  }

  write(chain: Ref, { seq, hash, position, unsent, updateTime }: Head): FirestoreWrite {
    return {
      kind: 'update',
      path: pathOf(chain),
      precondition: updateTime === undefined ? { exists: false } : { updateTime },
      fields: {
        seq: integer(seq),
        hash: text(hash),
        position: integer(position),
        unsent: { arrayValue: texts(unsent) },
      },
    };
  }

  /** They are now as they were to be. */
  moved(heads: ReadonlyMap<Ref, Head>, times: readonly (string | undefined)[]): void {
    for (const [index, [chain, head]] of [...heads].entries()) {
      this.#remember(chain, { ...head, updateTime: times[index]! });
    }
  }

  /** Takes ids off the outbox of a workflow, together with these writes. */
  async cleared(workflow: Ref, ids: readonly string[], writes: readonly FirestoreWrite[]): Promise<void> {
    await this.inTurn([workflow], async () => {
      const known = this.#known.get(workflow);
      const clear: FirestoreWrite = {
        kind: 'update',
        path: pathOf(workflow),
        mask: [],
        fields: {},
        transforms: [{ fieldPath: 'unsent', removeAllFromArray: texts(ids) }],
      };
      for (let tries = 1; ; tries++) {
        // Where another process has moved it the ids go all the same, and the head is read when it is next needed.
        const updateTime = tries === 1 ? known?.updateTime : undefined;
        const precondition = updateTime === undefined ? { exists: true } : { updateTime };
        try {
          const [time] = await this.#firestore.commit([{ ...clear, precondition }, ...writes]);
          if (!known || updateTime === undefined) return;
          const gone = new Set(ids);
          this.#remember(workflow, { ...known, unsent: known.unsent.filter((id) => !gone.has(id)), updateTime: time });
          return;
        } catch (error) {
          this.forget([workflow]);
          const status = error instanceof GoogleError ? error.status : undefined;
          const hasMoved = status === 'FAILED_PRECONDITION' && updateTime !== undefined;
          if (!hasMoved && (status !== 'ABORTED' || tries === maxTries)) throw error;
          if (!hasMoved) await this.#backoff.wait(this.#backoff.ms(tries));
        }
      }
    });
  }

  /** One at a time for each of these heads: two commits of one process would only refuse each other. */
  async inTurn<T>(chains: readonly Ref[], work: () => Promise<T>): Promise<T> {
    const before = chains.map((chain) => this.#turns.get(chain));
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    for (const chain of chains) this.#turns.set(chain, over);
    try {
      await Promise.all(before);
      return await work();
    } finally {
      end();
      for (const chain of chains) if (this.#turns.get(chain) === over) this.#turns.delete(chain);
    }
  }

  #remember(chain: Ref, head: Head): void {
    this.#known.delete(chain);
    this.#known.set(chain, head);
    if (this.#known.size > remembered) this.#known.delete(this.#known.keys().next().value!);
  }
}

function pathOf(chain: Ref): string {
  return refOf('heads', chain);
}

function chainOf(path: string): Ref {
  return decodeURIComponent(path.slice('heads/'.length));
}

function copy(head: Head): Head {
  return { ...head, unsent: [...head.unsent] };
}

function headOf(document: FirestoreDocument | undefined): Head {
  if (!document) return { seq: 0, hash: firstHash, position: 0, unsent: [], updateTime: undefined };
  const { fields, updateTime } = document;
  return {
    seq: numberOf(fields.seq),
    hash: textOf(fields.hash),
    position: numberOf(fields.position),
    unsent: textsOf(fields.unsent),
    updateTime,
  };
}
