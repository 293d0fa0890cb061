import type { Message } from './envelope.ts';
import { DormouseError } from './errors.ts';
import type { Entry, EntryDraft, JournalDraft } from './log.ts';

/**
 * Where a document is: pairs of collection and id, `workflows/WF-1/letters/acme`. An id is kept free of `/` by
 * `refOf`, which percent-encodes.
 */
export type Ref = string;

export interface Versioned {
  readonly ref: Ref;
  /** Opaque; moves with every write. Null where there is no document. */
  readonly version: string | null;
  /** Whose it is; null where there is no document. */
  readonly tenant: string | null;
  readonly data: Record<string, unknown> | null;
}

export interface Write {
  readonly ref: Ref;
  /** Null deletes. */
  readonly data: Record<string, unknown> | null;
  /** When the scheduler must look at this document: it is a timer. Epoch milliseconds. */
  readonly dueAt?: number;
  /** The same, counted from the commit: whatever the clock was set to meanwhile, it is not longer than this. */
  readonly dueAfterMs?: number;
  /** Since when only a repeat of what is done would ask for it: retention may remove it. Epoch milliseconds. */
  readonly settledAt?: number;
}

/** All effects of a step or command, made durable at once. One unit is of one tenant. */
export interface UnitOfWork {
  /** Whose all that is written is. */
  readonly tenant: string;
  /** Preconditions: every document read, not only those written, is still at its version. */
  readonly reads: readonly Pick<Versioned, 'ref' | 'version'>[];
  readonly writes: readonly Write[];
  /**
   * Documents, otherwise left as they are, that from now on only a repeat would ask for, as by `settledAt`. One that is not there is passed
   * over: they are no preconditions. Default none.
   */
  readonly settles?: readonly Ref[];
  /** One for every chain the unit touches; the store numbers and chains them. */
  readonly entries: readonly EntryDraft[];
  readonly journal: readonly JournalDraft[];
  readonly publish: readonly Message[];
}

export interface Committed {
  /** The new version of each write, in the order of the writes. */
  readonly versions: readonly (string | null)[];
  /**
   * What is to be published now, in this order: the messages of the unit, and before them those that earlier units left of
   * the workflows it touches. None where the store publishes within its commit.
   */
  readonly unsent: readonly Unsent[];
  /** What those workflows have left is more than fits: the last of it is not among `unsent`. Default false. */
  readonly hasMore?: boolean;
  /** When the earliest of the timers that the unit set is due. Absent without any, and where the store's host looks after them. */
  readonly dueAt?: number;
}

/** A message that is committed and not known to be published. */
export interface Unsent {
  readonly id: string;
  readonly message: Message;
}

/** So many a query answers, and a commit of each workflow, if not asked for fewer. */
export const unsentAtATime = 500;

export interface UnsentQuery {
  /** Only what is about this one. Default: about any, or none. */
  readonly workflow?: Ref;
  /** Only what was committed before: what is younger is on its way. Epoch milliseconds. Default: all. */
  readonly before?: number;
  /** Default `unsentAtATime`. */
  readonly limit?: number;
  /** Ids that are passed over, and not counted. Default: none. */
  readonly except?: readonly string[];
}

/** Documents of one collection, newest first. */
export interface Query {
  /** `workflows`, or the collection below one document: `workflows/WF-1/letters`. As `listings` declares. */
  readonly collection: Ref;
  /** Only what is of this tenant. Default: of all. */
  readonly tenant?: string;
  /** Default 50, at most 500. */
  readonly limit?: number;
  /** Of the page before. */
  readonly cursor?: string;
}

export interface Page {
  readonly documents: readonly Versioned[];
  /** Absent on the last page. */
  readonly cursor?: string;
}

export interface LogQuery {
  readonly workflow: Ref;
  /** Cursor of the last entry already seen. Default: from the beginning. */
  readonly after?: string;
}

/**
 * Documents, log, journal: what a platform must keep.
 * Every method rejects with DormouseError `store.unavailable` where the store does not answer.
 */
export interface StateStore {
  /** One round trip; answers in the order asked. */
  get(refs: readonly Ref[]): Promise<Versioned[]>;
  /** @throws DormouseError `query.unindexed` for a listing that is not declared, `query.invalid` for a limit or cursor that is none */
  find(query: Query): Promise<Page>;
  /**
   * Log and journal of a workflow and of the documents below it, in the order of their commits.
   * @throws DormouseError `query.invalid` for a cursor that is none
   */
  log(query: LogQuery): AsyncIterable<Entry>;
  /**
   * All or nothing. @throws ConflictError naming every read that has moved, or only the heads that have; DormouseError
   * `document.exists` for a write where another tenant's document is, `topic.undeclared`
   */
  commit(unit: UnitOfWork): Promise<Committed>;
  /**
   * Timers that are due by then, of any tenant, the earliest first. Fewer than the limit do not say that there are no more; none does.
   * @param except that are passed over, and not counted. Default: none
   */
  due(now: number, limit: number, except?: readonly Ref[]): Promise<Versioned[]>;
  /**
   * What is committed and not known to be published, that of each workflow in the order of its commits. Fewer than the limit do not
   * say that there is no more; none does.
   */
  unsent(query: UnsentQuery): Promise<Unsent[]>;
  /** These are published for certain. */
  sent(ids: readonly string[]): Promise<void>;
}

/** For a store, where another tenant's document is: nothing is told of it, but that something is there. */
export function documentTaken(ref: Ref): DormouseError {
  return new DormouseError('document.exists', `document "${ref}" exists already`);
}

/** For a store, before it writes anything: timers count too. @throws DormouseError `topic.undeclared` */
export function refuseUndeclared({ publish, writes }: UnitOfWork, declares: (topic: string) => boolean): void {
  const held = writes.flatMap(({ data, dueAt, dueAfterMs }) =>
    dueAt === undefined && dueAfterMs === undefined ? [] : [data!.message as Message],
  );
  for (const { topic } of [...publish, ...held]) {
    if (declares(topic)) continue;
    throw new DormouseError('topic.undeclared', `the system declares no topic "${topic}"; add it to its \`topics\``);
  }
}

/** @throws DormouseError `document.ref` where parts do not come in pairs, or one is empty or no id that every store keeps. */
export function refOf(...parts: readonly string[]): Ref {
  if (parts.length === 0 || parts.length % 2 !== 0 || parts.some((part) => part === '')) {
    throw new DormouseError(
      'document.ref',
      `[${parts.join(', ')}] is no path of pairs "collection/id"; give both parts of each pair`,
    );
  }
  const malformed = parts.find((part) => !part.isWellFormed());
  if (malformed !== undefined) {
    const shown = malformed.toWellFormed().slice(0, 100);
    throw new DormouseError(
      'document.ref',
      `"${shown}" cannot be part of a reference: it is no text in UTF-16; use another id`,
    );
  }
  const encoded = parts.map((part) => encodeURIComponent(part));
  const refused = encoded.findIndex((part) => !isKept(part));
  if (refused !== -1) {
    throw new DormouseError(
      'document.ref',
      `"${parts[refused]!.slice(0, 100)}" cannot be part of a reference: not ".", "..", "__…__", or more than ${mostIdBytes} bytes when it is percent-encoded; use another id`,
    );
  }
  return encoded.join('/');
}

/** Source: firebase.google.com/docs/firestore/quotas, collections, documents, and fields; the same for every store. */
const mostIdBytes = 1_500;

/** Whether every store keeps a part of a reference, as it stands there. */
export function isKept(part: string): boolean {
  if (part === '.' || part === '..' || /^__.*__$/.test(part)) return false;
  return part.length * 3 <= mostIdBytes || new TextEncoder().encode(part).length <= mostIdBytes;
}

/** Whether a text is a reference to a document that every store keeps. */
export function isRef(text: string): boolean {
  const parts = text.split('/');
  return text.isWellFormed() && parts.length % 2 === 0 && parts.every((part) => part !== '' && isKept(part));
}

export function collectionOf(ref: Ref): Ref {
  return ref.slice(0, ref.lastIndexOf('/'));
}

export function idOf(ref: Ref): string {
  const last = ref.slice(ref.lastIndexOf('/') + 1);
  try {
    return decodeURIComponent(last);
  } catch {
    // Not from `refOf`, but from outside: as it is.
    return last;
  }
}
