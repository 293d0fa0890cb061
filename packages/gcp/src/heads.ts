import { firstHash, idOf, type Ref, refOf, workflowOf } from '@dormouse/core';
import type { Firestore, FirestoreDocument, FirestoreWrite, WriteResult } from './firestore.ts';
import { GoogleError } from './google-error.ts';
import { Recent } from './recent.ts';
import { integer, numberOf, text, textOf, texts, textsOf, type Value } from './value.ts';

/** Where a chain ends; of a workflow also how far its log and outbox are numbered, and what of the outbox may not be sent. */
export interface Head {
  seq: number;
  hash: string;
  /** The last number given. */
  position: number;
  /** Ids: all that are in the outbox, in their order, and perhaps some that were cleared since. */
  readonly unsent: string[];
  /** How many of those a head of an earlier form lists, and the outbox's own document does not count. */
  readonly uncounted: number;
  /** As it was read; undefined where there was none. */
  readonly updateTime: string | undefined;
}

const mostKnown = 2_000;
const maxTries = 10;

/**
 * The heads of chains, at `heads/<chain>`: read along with the documents they belong to and remembered, since a unit needs them
 * only at its commit, where their update time is a precondition: one that is out of date refuses the commit.
 *
 * What of a workflow's outbox is not sent is beside, at `outboxes/<workflow>`: the ids, and how many. Nobody's precondition is how that
 * stands: both are moved by transforms, in the commits that write and delete the messages themselves. So a clear meets no unit and no unit
 * a clear; ids are added only by who moves the head, so whoever commits by a head knows of all that is older; and his commit tells how
 * many of those are left at that very moment.
 */
export class Heads {
  readonly #firestore: Firestore;
  readonly #known = new Recent<Ref, Head>(mostKnown);
  readonly #turns = new Map<Ref, Promise<unknown>>();

  constructor(firestore: Firestore) {
    this.#firestore = firestore;
  }

  /** The chains that a unit about these documents may grow: of workflows and what is below them. */
  chainsOf(refs: readonly Ref[]): Ref[] {
    return [...new Set(refs)].filter((ref) => workflowOf(ref) !== undefined);
  }

  /** Where what a unit needs of these chains is, to be read in the same request as documents. */
  pathsOf(chains: readonly Ref[]): string[] {
    return chains.flatMap(pathsOf);
  }

  /** @param found what lies at `pathsOf` these */
  learn(chains: readonly Ref[], found: readonly (FirestoreDocument | undefined)[]): void {
    const documents = new Map(this.pathsOf(chains).map((path, index) => [path, found[index]]));
    for (const chain of chains) {
      const [head, outbox] = pathsOf(chain).map((path) => documents.get(path));
      if (workflowOf(chain) === chain && !isOfOneMoment(head, outbox)) continue;
      const told = headOf(head, outbox);
      const known = this.#known.get(chain);
      // A commit of this process may have moved it since it was asked for.
      if (!known || known.position < told.position || (known.position === told.position && known.seq <= told.seq)) {
        this.#known.set(chain, told);
      }
    }
  }

  /** Copies, to be moved on. What is known is taken at once: while the others are read it may be forgotten. */
  async of(chains: readonly Ref[]): Promise<Map<Ref, Head>> {
    const heads = new Map<Ref, Head>();
    for (let tries = 0; ; tries++) {
      for (const chain of chains) {
        const known = this.#known.get(chain);
        if (known && !heads.has(chain)) heads.set(chain, copy(known));
      }
      const unknown = chains.filter((chain) => !heads.has(chain));
      if (unknown.length === 0) return new Map(chains.map((chain) => [chain, heads.get(chain)!]));
      if (tries === maxTries) throw new GoogleError('ABORTED', 'a head moved with every read', { code: 409 });
      this.learn(unknown, await this.#firestore.get(this.pathsOf(unknown)));
    }
  }

  forget(chains: readonly Ref[]): void {
    for (const chain of chains) this.#known.delete(chain);
  }

  write(chain: Ref, { seq, hash, position, updateTime }: Head): FirestoreWrite {
    return {
      kind: 'update',
      path: pathOf(chain),
      precondition: updateTime === undefined ? { exists: false } : { updateTime },
      fields: { seq: integer(seq), hash: text(hash), position: integer(position) },
    };
  }

  /** @param own ids that the unit adds to the outbox of a workflow @returns a write whose result tells how many are left */
  add(workflow: Ref, { unsent, uncounted, position }: Head, own: readonly string[]): FirestoreWrite {
    const added = uncounted > 0 ? unsent : own;
    return {
      kind: 'update',
      path: outboxOf(workflow),
      mask: ['position'],
      fields: { position: integer(position) },
      transforms: [
        { fieldPath: 'left', increment: integer(own.length + uncounted) },
        ...(added.length > 0 ? [{ fieldPath: 'ids', appendMissingElements: texts(added) }] : []),
      ],
    };
  }

  /** Takes ids off the outbox of a workflow, of which so many were still there: together with their deletes. */
  take(workflow: Ref, ids: readonly string[], count: number): FirestoreWrite {
    return {
      kind: 'update',
      path: outboxOf(workflow),
      mask: [],
      fields: {},
      transforms: [
        { fieldPath: 'left', increment: integer(-count) },
        { fieldPath: 'ids', removeAllFromArray: texts(ids) },
      ],
    };
  }

  /** They are now as they were to be. */
  moved(heads: ReadonlyMap<Ref, Head>, times: readonly (string | undefined)[]): void {
    for (const [index, [chain, head]] of [...heads].entries()) {
      this.#known.set(chain, { ...head, uncounted: 0, updateTime: times[index]! });
    }
  }

  /** These are not in the outbox any more. */
  gone(workflow: Ref, ids: readonly string[]): void {
    const known = this.#known.get(workflow);
    if (!known || known.uncounted > 0) return;
    const left = new Set(known.unsent);
    for (const id of ids) left.delete(id);
    this.#known.set(workflow, { ...known, unsent: [...left] });
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
}

/** How many are left, by the result of what `add` writes. Undefined where it was not told. */
export function leftBy(result: WriteResult | undefined): number | undefined {
  const value: Value | undefined = result?.transformResults?.[0];
  return value && numberOf(value);
}

function pathsOf(chain: Ref): string[] {
  return workflowOf(chain) === chain ? [pathOf(chain), outboxOf(chain)] : [pathOf(chain)];
}

function pathOf(chain: Ref): string {
  return refOf('heads', chain);
}

function outboxOf(workflow: Ref): string {
  return refOf('outboxes', idOf(workflow));
}

function copy(head: Head): Head {
  return { ...head, unsent: [...head.unsent] };
}

/** Nobody promises that two documents of one request are as they were at one moment. A commit writes its number to both. */
function isOfOneMoment(head: FirestoreDocument | undefined, outbox: FirestoreDocument | undefined): boolean {
  const [position, of] = [outbox?.fields.position, head?.fields];
  // Of an earlier form, of which others can only take ids. An empty list may also be what a process of then has left that cleared late.
  if (of?.unsent && (position === undefined || textsOf(of.unsent).length > 0)) return true;
  if (!of || position === undefined) return !of && position === undefined;
  return numberOf(position) === numberOf(of.position);
}

function headOf(head: FirestoreDocument | undefined, outbox: FirestoreDocument | undefined): Head {
  const counted = outbox?.fields.ids ? textsOf(outbox.fields.ids) : [];
  if (!head) return { seq: 0, hash: firstHash, position: 0, unsent: counted, uncounted: 0, updateTime: undefined };
  const { fields, updateTime } = head;
  // A head of an earlier form lists them itself.
  const listed = fields.unsent ? textsOf(fields.unsent) : [];
  return {
    seq: numberOf(fields.seq),
    hash: textOf(fields.hash),
    position: numberOf(fields.position),
    unsent: [...new Set([...listed, ...counted])],
    uncounted: listed.length,
    updateTime,
  };
}
