import {
  type Clock,
  type Message,
  type Ref,
  type Unsent,
  type UnsentQuery,
  unsentAtATime,
  workflows,
} from '@dormouse/core';
import type { Backoff } from './backoff.ts';
import type { Firestore, FirestoreDocument, FirestoreWrite, Query, WriteResult } from './firestore.ts';
import { isRefused } from './google-error.ts';
import { type Head, type Heads, leftBy } from './heads.ts';
import { type LongText, type LongTexts, removing } from './long-texts.ts';
import { Recent } from './recent.ts';
import { documentsAtOnce, Room } from './room.ts';
import { integer, numberOf, textOf } from './value.ts';

interface OutboxOptions {
  readonly firestore: Firestore;
  readonly heads: Heads;
  readonly longTexts: LongTexts;
  readonly backoff: Backoff;
  readonly clock: Pick<Clock, 'now'>;
  /** Refuses what no index serves. */
  readonly query: (query: Query) => Promise<FirestoreDocument[]>;
}

/** Of one clear: others may clear the same at once. */
const maxTries = 10;
/** Of a commit that clears: each takes a delete, and few a part of a long text. */
const clearedAtOnce = 200;
const mostAtHand = 500;
/** In characters. */
const longAtHand = 20_000;

/**
 * What is committed and not known to be sent, a document each at `outbox/<id>`: written with the unit that publishes it, deleted when it is published. The order
 * within a workflow, and how many there are, its head knows (`heads.ts`).
 */
export class Outbox {
  readonly #options: OutboxOptions;
  /** Of messages that are not known to be sent, by their ids, where something lies beside them. */
  readonly #besideUnsent = new Map<string, readonly LongText[]>();
  /** What this process has committed and not cleared, as far as it is short: it need not be read to be sent. */
  readonly #atHand = new Recent<string, Unsent>(mostAtHand);
  /** Of each commit under way: what this process has cleared since it began. */
  readonly #clearedSince = new Set<Set<string>>();

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** @param work is told the ids that this process clears meanwhile */
  async noting<T>(work: (cleared: ReadonlySet<string>) => Promise<T>): Promise<T> {
    const cleared = new Set<string>();
    this.#clearedSince.add(cleared);
    try {
      return await work(cleared);
    } finally {
      this.#clearedSince.delete(cleared);
    }
  }

  /** It was committed just now. @param long what lies beside it */
  keep(unsent: Unsent, long: readonly LongText[] | undefined): void {
    if (long) this.#besideUnsent.set(unsent.id, long);
    if (unsent.message.data.length <= longAtHand) this.#atHand.set(unsent.id, unsent);
  }

  /**
   * What the workflows of a unit have left with it, in their order. It is committed: where what is older cannot be read, nothing is told to be
   * sent, and somebody looks later.
   */
  async leftOf(
    workflows: readonly (readonly [Ref, Head])[],
    own: ReadonlyMap<string, Unsent>,
    results: readonly WriteResult[],
    cleared: ReadonlySet<string>,
  ): Promise<{ readonly unsent: readonly Unsent[]; readonly hasMore: boolean }> {
    const waiting = workflows.map(([workflow, { unsent }], index) => {
      const older = unsent.filter((id) => !own.has(id));
      if (leftBy(results[index]) !== unsent.length - older.length) return unsent;
      // Of the older ones none was there any more when this was committed.
      this.#options.heads.gone(workflow, older);
      return unsent.slice(older.length);
    });
    const told = new Map<string, Unsent | undefined>();
    for (const id of waiting.flat()) {
      const message = own.get(id) ?? this.#atHand.get(id);
      if (message || cleared.has(id)) told.set(id, message);
    }
    const unknown = waiting.flatMap((ids) => ids.slice(0, unsentAtATime).filter((id) => !told.has(id)));
    const read = await this.#messages(unknown).catch(() => new Map<string, Unsent | undefined>());
    for (const [id, message] of read) told.set(id, message);
    const gone = [...read].flatMap(([id, message]) => (message ? [] : [id]));
    for (const [workflow] of workflows) this.#options.heads.gone(workflow, gone);
    // Behind one that is not among them nothing leaves.
    const next = waiting.map((ids) => {
      const end = ids.findIndex((id, index) => index === unsentAtATime || !told.has(id));
      return end === -1 ? ids : ids.slice(0, end);
    });
    return {
      unsent: next.flatMap((ids) => ids.flatMap((id) => (cleared.has(id) ? [] : (told.get(id) ?? [])))),
      hasMore: next.some((ids, index) => ids.length < waiting[index]!.length),
    };
  }

  async unsent({ workflow, before, limit = unsentAtATime, except = [] }: UnsentQuery): Promise<Unsent[]> {
    const passedOver = new Set(except);
    const ids =
      workflow === undefined
        ? await this.#old(before, limit, passedOver)
        : await this.#oldOf(workflow, before, limit, passedOver);
    return [...(await this.#messages(ids)).values()].filter((each) => each !== undefined);
  }

  /** What was committed before, about any workflow or none. */
  async #old(before: number | undefined, limit: number, passedOver: ReadonlySet<string>): Promise<string[]> {
    // What is of the future was committed by a clock that was ahead.
    const where =
      before === undefined ? [[]] : [at('LESS_THAN', before), at('GREATER_THAN', this.#options.clock.now())];
    const orderBy = [{ field: 'at' }, { field: '__name__' }];
    const oldest = { collection: 'outbox', orderBy, limit: limit + passedOver.size, select: [] };
    const found = (await Promise.all(where.map((each) => this.#options.query({ ...oldest, where: each })))).flat();
    const old = new Set(found.map(({ path }) => path.slice('outbox/'.length)).filter((id) => !passedOver.has(id)));
    const ids = [...old].filter((id) => orderOfId(id) === undefined);
    for (const workflow of new Set([...old].flatMap((id) => orderOfId(id) ?? []))) {
      if (ids.length >= limit) break;
      ids.push(...upToLast(await this.#unsentOf(workflow, passedOver), old));
    }
    return ids.slice(0, limit);
  }

  async #oldOf(
    workflow: Ref,
    before: number | undefined,
    limit: number,
    passedOver: ReadonlySet<string>,
  ): Promise<string[]> {
    const ids = (await this.#unsentOf(workflow, passedOver)).slice(0, limit);
    if (before === undefined) return ids;
    const now = this.#options.clock.now();
    const found = await this.#options.firestore.get(ids.map(outboxPath), ['at']);
    const old = ids.filter((_, index) => {
      const committedAt = found[index] && numberOf(found[index].fields.at);
      return committedAt !== undefined && (committedAt < before || committedAt > now);
    });
    return upToLast(ids, new Set(old));
  }

  async #unsentOf(workflow: Ref, passedOver: ReadonlySet<string>): Promise<string[]> {
    this.#options.heads.forget([workflow]);
    const { unsent } = (await this.#options.heads.of([workflow])).get(workflow)!;
    return unsent.filter((id) => !passedOver.has(id));
  }

  /** By their ids, the first of them that there is room for. Undefined is one that was sent and cleared by another meanwhile. */
  async #messages(ids: readonly string[]): Promise<Map<string, Unsent | undefined>> {
    const messages = new Map<string, Unsent | undefined>();
    const room = new Room();
    for (let from = 0; from < ids.length; from += documentsAtOnce) {
      const some = ids.slice(from, from + documentsAtOnce);
      const taken = room.take(await this.#options.firestore.get(some.map(outboxPath)), 'message');
      const found = await this.#options.longTexts.read(taken, (fields) => textOf(fields.message));
      for (const [index, read] of found.entries()) {
        const id = some[index]!;
        if (read && read.long.length > 0) this.#besideUnsent.set(id, read.long);
        messages.set(id, read && { id, message: read.data as Message });
      }
      if (taken.length < some.length) break;
    }
    return messages;
  }

  /** These are published. */
  async clear(ids: readonly string[]): Promise<void> {
    for (let from = 0; from < ids.length; from += clearedAtOnce)
      await this.#clearSome(ids.slice(from, from + clearedAtOnce));
  }

  /** Each that is there is deleted and counted, once: where another was faster with some, it is done again with the others. */
  async #clearSome(ids: readonly string[]): Promise<void> {
    let there = ids;
    for (let tries = 1; there.length > 0; tries++) {
      try {
        await this.#options.firestore.commit(this.#clearing(ids, there));
        break;
      } catch (error) {
        if (!isRefused(error) || tries === maxTries) throw error;
        if (tries > 1) await this.#options.backoff.wait(this.#options.backoff.ms(tries));
        const found = await this.#options.firestore.get(ids.map(outboxPath), ['at']);
        there = ids.filter((_, index) => found[index]);
      }
    }
    for (const [workflow, gone] of Map.groupBy(ids, orderOfId)) if (workflow) this.#options.heads.gone(workflow, gone);
    for (const each of ids) {
      this.#besideUnsent.delete(each);
      this.#atHand.delete(each);
      for (const cleared of this.#clearedSince) cleared.add(each);
    }
  }

  #clearing(ids: readonly string[], there: readonly string[]): FirestoreWrite[] {
    const counted = Map.groupBy(there, orderOfId);
    const taken = [...Map.groupBy(ids, orderOfId)].flatMap(([workflow, of]) =>
      workflow === undefined ? [] : [this.#options.heads.take(workflow, of, counted.get(workflow)?.length ?? 0)],
    );
    return [
      ...taken,
      ...there.flatMap((each): FirestoreWrite[] => [
        { kind: 'delete', path: outboxPath(each), precondition: { exists: true } },
        ...removing(this.#besideUnsent.get(each) ?? []),
      ]),
    ];
  }
}

function at(op: string, time: number) {
  return [{ field: 'at', op, value: integer(time) }];
}

export function outboxPath(id: string): string {
  return `outbox/${id}`;
}

/** The workflow that a message is about, by the id that it has in the outbox. */
function orderOfId(id: string): Ref | undefined {
  const workflow = id.slice(0, id.lastIndexOf('.'));
  return workflow === '' ? undefined : `${workflows}/${workflow}`;
}

/** Clocks of processes differ: what stands before one that is old enough must leave before it. */
function upToLast(ids: readonly string[], old: ReadonlySet<string>): string[] {
  return ids.slice(0, ids.findLastIndex((id) => old.has(id)) + 1);
}
