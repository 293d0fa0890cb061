import {
  auditMessage,
  type Clock,
  type Committed,
  ConflictError,
  chainHash,
  checkListing,
  documentTaken,
  type Entry,
  type EntryDraft,
  idOf,
  type JournalDraft,
  type LogQuery,
  type Message,
  orderOf,
  type Page,
  pageSize,
  type Query,
  type Random,
  type Ref,
  randomId,
  readLogCursor,
  readPageCursor,
  refOf,
  refuseUndeclared,
  type TickStore,
  type UnitOfWork,
  type Unsent,
  type UnsentQuery,
  type Versioned,
  workflowOf,
  workflows,
  writePageCursor,
} from '@dormouse/core';
import { Backoff } from './backoff.ts';
import { checkLimits, limitOf } from './commit-limits.ts';
import type {
  Firestore,
  FirestoreDocument,
  Query as FirestoreQuery,
  FirestoreWrite,
  WriteResult,
} from './firestore.ts';
import { answering, GoogleError, isRefused } from './google-error.ts';
import { type Head, Heads } from './heads.ts';
import { checkIndexed, isExpiring } from './indexes.ts';
import { KnownDocuments } from './known-documents.ts';
import { type Laid, type LongText, LongTexts, type Read, removing } from './long-texts.ts';
import { Outbox, outboxPath } from './outbox.ts';
import { documentsAtOnce, Room } from './room.ts';
import { type Fields, integer, numberOf, text, textOf, time } from './value.ts';

export interface FirestoreStateStoreOptions {
  readonly firestore: Firestore;
  readonly clock: Clock;
  /** For the ids of messages that are about no workflow, and to spread retries. */
  readonly random: Random;
  /** Name of the system, for the source of audit events. */
  readonly system: string;
  /** Whether the system has a topic. */
  readonly declares: (topic: string) => boolean;
  /** Whether the system declares `audit.log`. */
  readonly audit: boolean;
}

const logPageSize = 200;
/** Longer than any subscription keeps a message, 31 days: until then a repeat may come. */
const keptAfterSettledMs = 45 * 86_400_000;
/** Not of a handler's making: Firestore gave up one of two commits that met, or an other tenant was faster. */
const maxTries = 10;
const firstWaitMs = 20;
const longestWaitMs = 1_000;

/**
 * Documents, log, journal and outbox in Firestore, at the paths that their references are.
 *
 * A unit is one commit with preconditions: the update time of every document read, of the heads it grows, and that what it
 * creates is not there. No transaction, so no lock and no second round trip. Entries and outgoing messages of a workflow are
 * numbered by its head (`heads.ts`), so the log has one order and the outbox too; commits of this process to one head take
 * turns, others meet a conflict that names only the head.
 */
export class FirestoreStateStore implements TickStore {
  readonly #options: FirestoreStateStoreOptions;
  readonly #firestore: Firestore;
  readonly #heads: Heads;
  readonly #longTexts: LongTexts;
  readonly #backoff: Backoff;
  readonly #known = new KnownDocuments();
  readonly #outbox: Outbox;

  constructor(options: FirestoreStateStoreOptions) {
    this.#options = options;
    this.#firestore = options.firestore;
    this.#backoff = new Backoff({ ...options, firstMs: firstWaitMs, longestMs: longestWaitMs });
    this.#heads = new Heads(options.firestore);
    this.#longTexts = new LongTexts(options.firestore, () => this.#newId());
    this.#outbox = new Outbox({
      ...options,
      heads: this.#heads,
      longTexts: this.#longTexts,
      backoff: this.#backoff,
      query: (query) => this.#query(query),
    });
  }

  async get(refs: readonly Ref[]): Promise<Versioned[]> {
    return answering(() => this.#read(refs));
  }

  /** Documents and what belongs to their heads; besides, what becomes known. */
  async #read(refs: readonly Ref[]): Promise<Versioned[]> {
    const chains = this.#heads.chainsOf(refs);
    const found = await this.#firestore.get([...refs, ...this.#heads.pathsOf(chains)]);
    this.#heads.learn(chains, found.slice(refs.length));
    const documents = await this.#longTexts.read(found.slice(0, refs.length), dataOf);
    return refs.map((ref, index) => {
      const read = documents[index];
      this.#known.found(ref, read?.document, read?.long);
      return versioned(ref, read);
    });
  }

  async find({ collection, tenant, limit, cursor }: Query): Promise<Page> {
    checkListing(collection, tenant);
    const size = pageSize(limit);
    const after = cursor === undefined ? undefined : readPageCursor(cursor);
    const slash = collection.lastIndexOf('/');
    return answering(async () => {
      const found = await this.#query({
        ...(slash !== -1 && { parent: collection.slice(0, slash) }),
        collection: collection.slice(slash + 1),
        where: tenant === undefined ? [] : [{ field: 'tenant', op: 'EQUAL', value: text(tenant) }],
        orderBy: [
          { field: 'createdAt', direction: 'DESCENDING' },
          { field: '__name__', direction: 'DESCENDING' },
        ],
        ...(after && { startAfter: [integer(after[0]), { path: after[1] }] }),
        limit: size + 1,
      });
      const documents = found.slice(0, size);
      const last = found.length > size ? documents.at(-1) : undefined;
      const read = await this.#longTexts.read(documents, dataOf);
      for (const each of read) if (each) this.#known.found(each.document.path, each.document, each.long);
      return {
        documents: versionedAll(read),
        ...(last && { cursor: writePageCursor([numberOf(last.fields.createdAt), last.path]) }),
      };
    });
  }

  async *log({ workflow, after }: LogQuery): AsyncIterable<Entry> {
    for (let position = readLogCursor(after); ; ) {
      const page = await answering(() =>
        this.#query({
          parent: refOf('logs', idOf(workflow)),
          collection: 'entries',
          orderBy: [{ field: 'position' }],
          startAfter: [integer(position)],
          limit: logPageSize,
        }),
      );
      for (const { fields } of page) {
        position = numberOf(fields.position);
        yield entryOf(fields);
      }
      if (page.length < logPageSize) return;
    }
  }

  async commit(unit: UnitOfWork): Promise<Committed> {
    refuseUndeclared(unit, this.#options.declares);
    const chains = headsOf(unit);
    return answering(() =>
      this.#heads.inTurn(chains, async () => {
        try {
          return await this.#outbox.noting((cleared) => this.#commit(unit, cleared));
        } catch (error) {
          // Nobody knows how they stand, but where that is what it tells.
          if (!(error instanceof ConflictError)) this.#heads.forget(chains);
          throw error;
        }
      }),
    );
  }

  async #commit(unit: UnitOfWork, cleared: ReadonlySet<string>): Promise<Committed> {
    // Nobody need be asked whether it has moved. How all of it stands now is read by who runs again, at one moment.
    const overtaken = this.#known.overtaking(unit.reads);
    if (overtaken.length > 0) throw new ConflictError(overtaken);
    let { settles = [] } = unit;
    for (let tries = 1; ; tries++) {
      const draft = await this.#draft({ ...unit, settles });
      checkLimits(draft.writes);
      const results = await this.#commitOnce(draft.writes).catch((error: unknown) => {
        if (!isRefused(error)) throw limitOf(error) ?? error;
      });
      if (results) return draft.committed(results, cleared);
      const { there, isGuessMended } = await this.#tellWhatMoved(unit, draft);
      settles = settles.filter((ref) => there.has(ref));
      if (tries === maxTries) {
        throw new GoogleError('ABORTED', `refused ${tries} times, and nothing has moved`, { code: 409 });
      }
      if (!isGuessMended) await this.#backoff.wait(this.#backoff.ms(tries));
    }
  }

  /**
   * A commit whose answer was lost is sent again, and refused then by what it did itself. Told by what it alone can have written: an
   * entry, or a message. Where there is none of these its documents have moved, and whoever runs again finds what was done.
   */
  async #commitOnce(writes: readonly FirestoreWrite[]): Promise<readonly WriteResult[]> {
    try {
      return await this.#firestore.commit(writes);
    } catch (error) {
      if (!isRefused(error) || !error.facts.isRepeat) throw error;
      const own = writes.find((write) => /^(logs|logless|outbox)\//.test(write.path));
      const [found] = own ? await this.#firestore.get([own.path]) : [];
      if (!found || !isSame(own as FirestoreWrite & { kind: 'update' }, found)) throw error;
      // All of a commit have the time of the commit.
      return writes.map(({ kind }) => (kind === 'update' ? { updateTime: found.updateTime } : {}));
    }
  }

  /**
   * All that a refused commit may have been refused for, in one request, so that whoever tries again need not ask.
   * @returns which of those that it settles are there, and whether a document stood otherwise than was guessed
   * @throws ConflictError where something has moved
   */
  async #tellWhatMoved(
    { reads, settles = [] }: UnitOfWork,
    { heads, guessed }: Draft,
  ): Promise<{ readonly there: ReadonlySet<Ref>; readonly isGuessMended: boolean }> {
    const chains = [...heads.keys()];
    this.#heads.forget(chains);
    const refs = [...new Set([...reads.map(({ ref }) => ref), ...guessed.keys()])];
    const beside = [...this.#heads.pathsOf(chains), ...settles];
    const found = await this.#firestore.get([...refs, ...beside]);
    const documents = await this.#longTexts.read(found.slice(0, refs.length), dataOf);
    const now = new Map(refs.map((ref, index) => [ref, versioned(ref, documents[index])]));
    for (const [index, ref] of refs.entries()) {
      this.#known.found(ref, documents[index]?.document, documents[index]?.long);
    }
    this.#heads.learn(chains, found.slice(refs.length));
    const moved = reads.filter(({ ref, version }) => now.get(ref)!.version !== version);
    if (moved.length > 0) {
      throw new ConflictError(
        moved.map(({ ref }) => ref),
        [],
        reads.map(({ ref }) => now.get(ref)!),
      );
    }
    const known = await this.#heads.of(chains);
    const movedHeads = chains.filter((chain) => known.get(chain)!.updateTime !== heads.get(chain)!.updateTime);
    if (movedHeads.length > 0) throw new ConflictError([], movedHeads);
    const there = new Set(settles.filter((_, index) => found[found.length - settles.length + index]));
    return { there, isGuessMended: [...guessed].some(([ref, version]) => now.get(ref)!.version !== version) };
  }

  /** The unit as Firestore takes it, by the heads as they are known. */
  async #draft(unit: UnitOfWork): Promise<Draft> {
    const { system, audit, clock } = this.#options;
    const now = clock.now();
    const { tenant } = unit;
    const read = new Map(unit.reads.map(({ ref, version }) => [ref, version]));
    const written = new Set(unit.writes.map(({ ref }) => ref));
    const heads = await this.#heads.of(headsOf(unit));
    // The unit says which versions were read, and not whose they are.
    const forgotten = [...written].filter((ref) => read.has(ref) && !this.#known.isKnown(ref, read.get(ref)!));
    for (const [index, document] of (await this.#firestore.get(forgotten)).entries()) {
      this.#known.found(forgotten[index]!, document);
    }
    // What was written without a look is taken to stand as it was last known, or not to be there: most are new. A commit that guessed wrong
    // is refused, and told how it stands.
    const guessed = new Map(
      [...written].filter((ref) => !read.has(ref)).map((ref) => [ref, this.#known.of(ref).version]),
    );
    for (const ref of written) {
      const { tenant: owner } = this.#known.of(ref);
      if (owner !== null && owner !== tenant) throw documentTaken(ref);
    }
    const writes: FirestoreWrite[] = [];
    for (const [ref, version] of read) {
      if (!written.has(ref)) writes.push({ kind: 'verify', path: ref, precondition: preconditionOf(version) });
    }
    const firstWrite = writes.length;
    const besideThem: FirestoreWrite[] = [];
    const laidOut = new Map<Ref, Pick<Laid, 'long'>>();
    let earliest: number | undefined;
    for (const { ref, data, dueAt, dueAfterMs, settledAt } of unit.writes) {
      const precondition = preconditionOf(read.has(ref) ? read.get(ref)! : guessed.get(ref)!);
      const { long } = this.#known.of(ref);
      if (data === null) {
        writes.push({ kind: 'delete', path: ref, precondition });
        besideThem.push(...removing(long));
        continue;
      }
      const expireAt = settledAt === undefined || !isExpiring(ref) ? undefined : settledAt + keptAfterSettledMs;
      const laid = this.#longTexts.lay(data, long, expireAt);
      besideThem.push(...laid.writes);
      laidOut.set(ref, laid);
      const due = dueAfterMs === undefined ? dueAt : now + dueAfterMs;
      if (due !== undefined) earliest = Math.min(due, earliest ?? due);
      writes.push({
        kind: 'update',
        path: ref,
        precondition,
        mask: ['data', 'parts', 'tenant', 'dueAt', 'expireAt'],
        fields: {
          data: text(laid.json),
          ...laid.field,
          tenant: text(tenant),
          ...(due !== undefined && { dueAt: integer(due) }),
          ...(expireAt !== undefined && { expireAt: time(expireAt) }),
        },
        transforms: [
          { fieldPath: 'createdAt', minimum: integer(now) },
          // A write that changes nothing would keep its update time, and with it the version.
          { fieldPath: 'revision', increment: integer(1) },
        ],
      });
    }

    // After all that is told its version.
    writes.push(...besideThem);
    // Nothing lies beside what is settled so: results of activities are short.
    for (const ref of unit.settles ?? []) {
      const fields = { expireAt: time(now + keptAfterSettledMs) };
      writes.push({ kind: 'update', path: ref, precondition: { exists: true }, mask: ['expireAt'], fields });
    }

    const projected: Message[] = [];
    const enter = (workflow: Ref | undefined, fields: Fields) => {
      const head = workflow === undefined ? undefined : heads.get(workflow)!;
      const position = head ? ++head.position : 0;
      const path = head ? refOf('logs', idOf(workflow!), 'entries', padded(position)) : refOf('logless', this.#newId());
      writes.push({
        kind: 'update',
        path,
        precondition: { exists: false },
        fields: { ...fields, at: integer(now), position: integer(position) },
      });
    };
    for (const entry of unit.entries) {
      const workflow = workflowOf(entry.chain);
      const head = heads.get(entry.chain)!;
      const body = JSON.stringify(entry);
      head.seq++;
      head.hash = chainHash(head.hash, head.seq, now, body);
      const { seq, hash } = head;
      enter(workflow, { chain: text(entry.chain), seq: integer(seq), hash: text(hash), body: text(body) });
      if (audit) projected.push(auditMessage({ kind: 'log', seq, hash, entry }, { system, tenant, workflow, at: now }));
    }
    for (const entry of unit.journal) {
      const { workflow } = entry;
      enter(workflow, { body: text(JSON.stringify(entry)) });
      if (audit) projected.push(auditMessage({ kind: 'journal', entry }, { system, tenant, workflow, at: now }));
    }

    const own = new Map<string, Unsent>();
    const ofNone: Unsent[] = [];
    const besideOwn = new Map<string, readonly LongText[]>();
    for (const message of [...projected, ...unit.publish]) {
      const workflow = orderOf(message);
      const head = workflow === undefined ? undefined : heads.get(workflow)!;
      const id = head ? `${workflow!.slice(workflows.length + 1)}.${padded(++head.position)}` : `.${this.#newId()}`;
      if (head) {
        head.unsent.push(id);
        own.set(id, { id, message });
      } else ofNone.push({ id, message });
      const { json, long, field, writes: besideIt } = this.#longTexts.lay(message);
      if (long.length > 0) besideOwn.set(id, long);
      writes.push(
        {
          kind: 'update',
          path: outboxPath(id),
          precondition: { exists: false },
          fields: { at: integer(now), message: text(json), ...field },
        },
        ...besideIt,
      );
    }
    const firstHead = writes.length;
    for (const [chain, head] of heads) writes.push(this.#heads.write(chain, head));
    const firstAdded = writes.length;
    const ofWorkflows = [...heads].filter(([chain]) => workflowOf(chain) === chain);
    for (const [workflow, head] of ofWorkflows) {
      const added = head.unsent.filter((id) => own.has(id));
      writes.push(this.#heads.add(workflow, head, added));
    }

    const committed: Draft['committed'] = async (results, cleared) => {
      if (results.length !== writes.length) {
        throw new GoogleError('INTERNAL', `${results.length} results of ${writes.length} writes`, { code: 200 });
      }
      const times = results.map(({ updateTime }) => updateTime);
      this.#heads.moved(heads, times.slice(firstHead));
      const versions = unit.writes.map(({ ref, data }, index) => {
        const version = data === null ? null : times[firstWrite + index]!;
        this.#known.written(ref, { version, tenant, ...laidOut.get(ref) });
        return version;
      });
      for (const each of [...own.values(), ...ofNone]) this.#outbox.keep(each, besideOwn.get(each.id));
      const left = await this.#outbox.leftOf(ofWorkflows, own, results.slice(firstAdded), cleared);
      return {
        versions,
        unsent: [...left.unsent, ...ofNone],
        ...(left.hasMore && { hasMore: true }),
        ...(earliest !== undefined && { dueAt: earliest }),
      };
    };
    return { writes, heads, guessed, committed };
  }

  async due(now: number, limit: number, except: readonly Ref[] = []): Promise<Versioned[]> {
    return answering(async () => {
      const where = [{ field: 'dueAt', op: 'LESS_THAN_OR_EQUAL', value: integer(now) }];
      // Where they are, first: of what is passed over nothing is read.
      const named = await this.#query({ ...timers, where, limit: limit + except.length, select: [] });
      const passedOver = new Set(except);
      const left = named.map(({ path }) => path).filter((path) => !passedOver.has(path));
      const asked = left.slice(0, Math.min(limit, documentsAtOnce));
      // Whoever fires them commits by these heads.
      const chains = [...new Set(asked.map((path) => refOf(workflows, idOf(path.split('/')[1]!))))];
      const found = await this.#firestore.get([...asked, ...this.#heads.pathsOf(chains)]);
      this.#heads.learn(chains, found.slice(asked.length));
      const taken = await this.#longTexts.read(new Room().take(found.slice(0, asked.length), 'data'), dataOf);
      // One may be set anew meanwhile, for later, or fired by another.
      const read = taken.filter((each) => each?.document.fields.dueAt && numberOf(each.document.fields.dueAt) <= now);
      for (const each of read) if (each) this.#known.found(each.document.path, each.document, each.long);
      return versionedAll(read);
    });
  }

  async nextDueAt(after: number): Promise<number | undefined> {
    return answering(async () => {
      const where = [{ field: 'dueAt', op: 'GREATER_THAN', value: integer(after) }];
      const [earliest] = await this.#query({ ...timers, where, limit: 1 });
      return earliest && numberOf(earliest.fields.dueAt);
    });
  }

  unsent(query: UnsentQuery): Promise<Unsent[]> {
    return answering(() => this.#outbox.unsent(query));
  }

  sent(ids: readonly string[]): Promise<void> {
    return answering(() => this.#outbox.clear(ids));
  }

  #query(query: FirestoreQuery): Promise<FirestoreDocument[]> {
    checkIndexed(query);
    return this.#firestore.query(query);
  }

  #newId(): string {
    return randomId(this.#options.random);
  }
}

interface Draft {
  readonly writes: readonly FirestoreWrite[];
  /** As they will be, with the update time they had. */
  readonly heads: ReadonlyMap<Ref, Head>;
  /** How documents that nobody has read are taken to stand. */
  readonly guessed: ReadonlyMap<Ref, string | null>;
  /** @param cleared what is meanwhile, and after it */
  committed(results: readonly WriteResult[], cleared: ReadonlySet<string>): Promise<Committed>;
}

/** Those that wait: one that has fired has no such time any more. */
const timers = { collection: 'named', allDescendants: true, orderBy: [{ field: 'dueAt' }] } as const;

function isSame({ fields: wanted }: { readonly fields: Fields }, { fields }: FirestoreDocument): boolean {
  return Object.entries(wanted).every(([name, value]) => JSON.stringify(fields[name]) === JSON.stringify(value));
}

/** The chains whose heads a unit moves: of its entries, and of the workflows whose log or outbox grows. */
function headsOf({ entries, journal, publish }: UnitOfWork): Ref[] {
  const chains = new Set<Ref>();
  const add = (chain: Ref | undefined) => chain !== undefined && chains.add(chain);
  for (const { chain } of entries) {
    add(workflowOf(chain));
    add(chain);
  }
  for (const { workflow } of journal) add(workflow);
  for (const message of publish) add(orderOf(message));
  return [...chains].toSorted();
}

function preconditionOf(version: string | null) {
  return version === null ? { exists: false } : { updateTime: version };
}

function dataOf(fields: Fields): string {
  return textOf(fields.data);
}

function versionedAll(found: readonly (Read | undefined)[]): Versioned[] {
  return found.flatMap((read) => (read ? [versioned(read.document.path, read)] : []));
}

function versioned(ref: Ref, read: Read | undefined): Versioned {
  if (!read) return { ref, version: null, tenant: null, data: null };
  const { document, data } = read;
  const tenant = textOf(document.fields.tenant);
  return { ref, version: document.updateTime, tenant, data: data as Record<string, unknown> };
}

function entryOf(fields: Fields): Entry {
  const [cursor, at] = [String(numberOf(fields.position)), numberOf(fields.at)];
  const body = JSON.parse(textOf(fields.body));
  if (!fields.chain) return { cursor, at, kind: 'journal', entry: body as JournalDraft };
  const [seq, hash] = [numberOf(fields.seq), textOf(fields.hash)];
  return { cursor, at, kind: 'log', seq, hash, entry: body as EntryDraft };
}

/** So that ids sort as numbers do. */
function padded(position: number): string {
  return String(position).padStart(12, '0');
}
