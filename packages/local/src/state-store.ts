import { type Broker, type Database, DatabaseError } from '@dormouse/broker';
import {
  auditMessage,
  type Committed,
  ConflictError,
  chainHash,
  checkListing,
  collectionOf,
  DormouseError,
  documentTaken,
  type Entry,
  firstHash,
  isListed,
  type LogQuery,
  type Message,
  orderOf,
  type Page,
  pageSize,
  type Query,
  type Ref,
  readLogCursor,
  readPageCursor,
  refuseUndeclared,
  type StateStore,
  type UnitOfWork,
  type Unsent,
  type UnsentQuery,
  unsentAtATime,
  type Versioned,
  workflowOf,
  workflows,
  writePageCursor,
} from '@dormouse/core';

export interface StateStoreOptions {
  readonly database: Database;
  /** Publishes within the commit's own transaction. Default: what a unit publishes waits in the outbox, for a relay. */
  readonly append?: (message: Message) => void;
  /** Whether the system has a topic. */
  readonly declares: (topic: string) => boolean;
  /** Name of the system, for the source of audit events. */
  readonly system: string;
  /** Whether the system declares `audit.log`. */
  readonly audit: boolean;
  /** Statuses of workflows that are over: when they got there is kept, for retention. Default: none. */
  readonly closedStatuses?: readonly string[] | undefined;
  readonly now: () => number;
}

/** For a store in the same file as its broker: what a unit publishes enters the broker's log in the commit's own transaction. */
export function publishingTo(
  broker: Broker,
  topicName: (topic: string) => string,
): Pick<StateStoreOptions, 'append' | 'declares'> {
  return {
    append: (message) => void broker.append(topicName(message.topic), message),
    declares: (topic) => broker.hasTopic(topicName(topic)),
  };
}

/** What a commit did that others wait for. Fires when it is durable. */
export interface CommitNotice {
  /** Workflows whose log or journal grew. */
  readonly workflows: readonly Ref[];
  /** When, by the clock as it was. */
  readonly at: number;
  /** The earliest timer set, if one was. */
  readonly dueAt: number | undefined;
  /** Something waits in the outbox. */
  readonly unsent: boolean;
}

const versionsAtATime = 100_000;

interface Row {
  readonly ref: string;
  readonly version: number;
  readonly tenant: string;
  readonly data: string;
}

/**
 * Documents, log and journal in SQLite, in the same file as the broker's log or apart from it.
 *
 * Every commit runs in the database's single writer, so preconditions are checked, entries numbered and chained, and
 * messages appended in one transaction: a head never conflicts here.
 */
export class SqliteStateStore implements StateStore {
  readonly #options: StateStoreOptions;
  readonly #sql: ReturnType<typeof prepare>;
  #version: number;
  #versionCeiling: number;
  onCommitted: (notice: CommitNotice) => void = () => {};

  static readonly schema = [
    `CREATE TABLE document (
       ref TEXT PRIMARY KEY, collection TEXT NOT NULL, tenant TEXT NOT NULL, version INTEGER NOT NULL,
       created_at INTEGER NOT NULL, due_at INTEGER, data TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX document_by_collection ON document (collection, created_at);
     CREATE INDEX document_by_due_at ON document (due_at) WHERE due_at IS NOT NULL;
     CREATE TABLE head (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE entry (
       position INTEGER PRIMARY KEY AUTOINCREMENT, workflow TEXT, chain TEXT, seq INTEGER, hash TEXT, at INTEGER NOT NULL, body TEXT NOT NULL
     ) STRICT;
     CREATE TABLE version_ceiling (value INTEGER NOT NULL) STRICT;
     INSERT INTO version_ceiling VALUES (0);
     CREATE INDEX entry_by_workflow ON entry (workflow, position);`,
    // Covers a listing but for its documents, so that a tenant's page skips the others' rows without reading them.
    `DROP INDEX document_by_collection;
     CREATE INDEX document_by_collection ON document (collection, created_at, ref, tenant);`,
    // For retention. Closed workflows apart: they wait for much longer, and are not to be passed over each time.
    `ALTER TABLE document ADD COLUMN settled_at INTEGER;
     UPDATE document SET settled_at = coalesce(json_extract(data, '$.at'), created_at)
       WHERE collection = 'inbox' AND json_extract(data, '$.state') = 'settled';
     CREATE INDEX document_by_settled_at ON document (settled_at) WHERE settled_at IS NOT NULL AND collection <> 'workflows';
     CREATE INDEX workflow_by_settled_at ON document (settled_at) WHERE settled_at IS NOT NULL AND collection = 'workflows';
     CREATE INDEX timer_in_use ON document (json_extract(data, '$.timer'))
       WHERE collection = 'inbox' AND json_extract(data, '$.timer') IS NOT NULL;
     CREATE INDEX entry_of_journal ON entry (at) WHERE chain IS NULL;`,
    // A tenant's page looks at no other's rows: with two hundred thousand of them it took 100 ms of the host's loop.
    `DROP INDEX document_by_collection;
     CREATE INDEX document_by_collection ON document (collection, created_at);
     CREATE INDEX document_by_tenant ON document (collection, tenant, created_at);`,
    `CREATE TABLE outbox (
       id INTEGER PRIMARY KEY AUTOINCREMENT, workflow TEXT, at INTEGER NOT NULL, message TEXT NOT NULL
     ) STRICT;
     CREATE INDEX outbox_by_workflow ON outbox (workflow, id);`,
    // Every step writes its inbox, and nobody lists those: the listing's indexes are of what is listed.
    // (A generated column would do without the copy, and no index of one covers a listing.)
    `ALTER TABLE document ADD COLUMN listed_in TEXT;
     DROP INDEX document_by_collection;
     DROP INDEX document_by_tenant;
     UPDATE document SET listed_in = collection WHERE collection NOT IN ('inbox', 'activities');
     CREATE INDEX document_by_collection ON document (listed_in, created_at) WHERE listed_in IS NOT NULL;
     CREATE INDEX document_by_tenant ON document (listed_in, tenant, created_at) WHERE listed_in IS NOT NULL;`,
  ];

  constructor(options: StateStoreOptions) {
    options.database.migrate('state', SqliteStateStore.schema);
    this.#options = options;
    this.#sql = prepare(options.database);
    this.#version = this.#sql.ceiling.get()!.value as number;
    this.#versionCeiling = this.#version;
  }

  async get(refs: readonly Ref[]): Promise<Versioned[]> {
    return this.#reading(() => refs.map((ref) => this.#read(ref)));
  }

  async find({ collection, tenant, limit, cursor }: Query): Promise<Page> {
    checkListing(collection, tenant);
    const [createdAt, after] = cursor === undefined ? [Number.MAX_SAFE_INTEGER, '\uffff'] : readPageCursor(cursor);
    const size = pageSize(limit);
    const rows = this.#reading(() =>
      tenant === undefined
        ? this.#sql.find.all(collection, createdAt, after, size + 1)
        : this.#sql.findOfTenant.all(collection, tenant, createdAt, after, size + 1),
    ) as unknown as (Row & { created_at: number })[];
    const documents = rows.slice(0, size).map(versioned);
    const last = rows[size - 1];
    return { documents, ...(rows.length > size && last && { cursor: writePageCursor([last.created_at, last.ref]) }) };
  }

  async *log({ workflow, after }: LogQuery): AsyncIterable<Entry> {
    for (let position = readLogCursor(after); ; ) {
      const rows = this.#reading(() => this.#sql.log.all(workflow, position, 200));
      for (const row of rows) {
        position = row.position as number;
        yield entryOf(row);
      }
      if (rows.length < 200) return;
    }
  }

  commit(unit: UnitOfWork): Promise<Committed> {
    return this.#writing(() => this.apply(unit));
  }

  /** Only inside a write of the database. @throws ConflictError */
  apply(unit: UnitOfWork): Committed {
    const { database, audit, system, declares, closedStatuses = [] } = this.#options;
    const moved = unit.reads.filter(({ ref, version }) => this.#versionOf(ref) !== version).map(({ ref }) => ref);
    if (moved.length > 0) throw new ConflictError(moved);
    refuseUndeclared(unit, declares);
    const now = this.#options.now();

    const { tenant } = unit;
    let earliest: number | undefined;
    const versions = unit.writes.map(({ ref, data, settledAt, ...write }) => {
      if (data === null) {
        const { changes } = this.#sql.remove.run(ref, tenant);
        if (changes === 0 && this.#versionOf(ref) !== null) throw documentTaken(ref);
        return null;
      }
      const version = this.#nextVersion();
      const collection = collectionOf(ref);
      const over = collection === workflows && closedStatuses.includes(data.status as string);
      const settled = settledAt ?? (over ? now : null);
      const dueAt = write.dueAfterMs === undefined ? write.dueAt : now + write.dueAfterMs;
      if (dueAt !== undefined) earliest = Math.min(dueAt, earliest ?? dueAt);
      const listedIn = isListed(collection) ? collection : null;
      const row = [ref, collection, listedIn, tenant, version, now, dueAt ?? null, settled, JSON.stringify(data)];
      if (this.#sql.write.run(...row).changes === 0) throw documentTaken(ref);
      return String(version);
    });
    for (const ref of unit.settles ?? []) this.#sql.settle.run(now, ref, tenant);
    const touched = new Set<Ref>();
    const projected: Message[] = [];
    for (const draft of unit.entries) {
      const [last, lastHash] = (this.#sql.head.get(draft.chain) as [number, string] | undefined) ?? [0, firstHash];
      const seq = last + 1;
      const body = JSON.stringify(draft);
      const hash = chainHash(lastHash, seq, now, body);
      this.#sql.moveHead.run(draft.chain, seq, hash);
      const workflow = workflowOf(draft.chain);
      this.#sql.append.run(workflow ?? null, draft.chain, seq, hash, now, body);
      if (workflow) touched.add(workflow);
      if (audit)
        projected.push(auditMessage({ kind: 'log', seq, hash, entry: draft }, { system, tenant, workflow, at: now }));
    }
    for (const draft of unit.journal) {
      this.#sql.append.run(draft.workflow ?? null, null, null, null, now, JSON.stringify(draft));
      if (draft.workflow) touched.add(draft.workflow);
      if (audit)
        projected.push(
          auditMessage({ kind: 'journal', entry: draft }, { system, tenant, workflow: draft.workflow, at: now }),
        );
    }
    const unsent = this.#publish([...projected, ...unit.publish], touched, now);

    if (touched.size > 0 || earliest !== undefined || unsent.length > 0) {
      const notice = { workflows: [...touched], at: now, dueAt: earliest, unsent: unsent.length > 0 };
      database.afterSync(() => this.onCommitted(notice));
    }
    return { versions, unsent };
  }

  /** @returns what a relay is to send: these, after what is left of the same workflows */
  #publish(messages: readonly Message[], touched: ReadonlySet<Ref>, now: number): Unsent[] {
    const { append } = this.#options;
    if (append) {
      for (const message of messages) append(message);
      return [];
    }
    const workflows = new Set(touched);
    const own = new Map<number, Message>();
    const ofNone: Unsent[] = [];
    for (const message of messages) {
      const workflow = orderOf(message);
      const id = Number(this.#sql.post.run(workflow ?? null, now, JSON.stringify(message)).lastInsertRowid);
      if (workflow) {
        workflows.add(workflow);
        own.set(id, message);
      } else ofNone.push({ id: String(id), message });
    }
    const ids = [...workflows].flatMap((workflow) => this.#sql.idsUnsentOf.all(workflow, unsentAtATime));
    const left = (ids as unknown as [number][]).map(([id]) => {
      const message = own.get(id);
      return message ? { id: String(id), message } : unsentOf(this.#sql.posted.get(id) as unknown as OutboxRow);
    });
    return [...left, ...ofNone];
  }

  async unsent(query: UnsentQuery): Promise<Unsent[]> {
    const { workflow, before = Number.MAX_SAFE_INTEGER, limit = unsentAtATime, except = [] } = query;
    const now = this.#options.now();
    const most = limit + except.length;
    const read = () =>
      workflow === undefined
        ? this.#sql.unsent.all(before, now, most)
        : this.#sql.unsentOf.all(workflow, before, now, most);
    // As a write: who is answered publishes it, so it must be durable.
    const rows = await this.#writing(read);
    const passedOver = new Set(except);
    const left = (rows as unknown as OutboxRow[]).filter(({ id }) => !passedOver.has(String(id)));
    return left.slice(0, limit).map(unsentOf);
  }

  sent(ids: readonly string[]): Promise<void> {
    return this.#writing(() => {
      for (const id of ids) this.#sql.clear.run(id);
    });
  }

  async due(now: number, limit: number, except: readonly Ref[] = []): Promise<Versioned[]> {
    const rows = await this.#reading(() => this.#sql.due.all(now, limit + except.length) as unknown as Row[]);
    const passedOver = new Set(except);
    const left = rows.filter(({ ref }) => !passedOver.has(ref));
    return left.slice(0, limit).map(versioned);
  }

  /** A backoff that began in the future is over: the clock was set back, and nobody knows how long it ran. */
  async endBackoffs(now: number): Promise<void> {
    await this.#writing(() => this.#sql.endBackoffs.run(now));
  }

  /** Retries that wait for one subscription. */
  timersAddressedTo(subscription: string): Versioned[] {
    return (this.#sql.addressed.all(subscription) as unknown as Row[]).map(versioned);
  }

  nextDueAt(): number | undefined {
    return (this.#sql.nextDue.get()?.due_at as number | null) ?? undefined;
  }

  /**
   * Never the same twice, also for a document deleted and made again, also after a crash: the ceiling on disk is ahead.
   * In memory it rises only when it has on disk for certain.
   */
  #nextVersion(): number {
    const version = ++this.#version;
    if (version > this.#versionCeiling) {
      const ceiling = version + versionsAtATime;
      this.#sql.raiseCeiling.run(ceiling);
      this.#options.database.afterSync(() => {
        this.#versionCeiling = Math.max(this.#versionCeiling, ceiling);
      });
    }
    return version;
  }

  #writing<T>(work: () => T): Promise<T> {
    return this.#options.database.write(work).catch((error) => {
      throw unavailable(error);
    });
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw unavailable(this.#options.database.errorOf(error));
    }
  }

  #read(ref: Ref): Versioned {
    const row = this.#sql.read.get(ref) as [version: number, tenant: string, data: string] | undefined;
    if (!row) return { ref, version: null, tenant: null, data: null };
    const [version, tenant, data] = row;
    return { ref, version: String(version), tenant, data: JSON.parse(data) };
  }

  #versionOf(ref: Ref): string | null {
    const row = this.#sql.version.get(ref) as [number] | undefined;
    return row ? String(row[0]) : null;
  }
}

/** Rows of what every step reads: as objects they take twice the time. */
function inArrays(statement: ReturnType<Database['prepare']>): ReturnType<Database['prepare']> {
  statement.setReturnArrays(true);
  return statement;
}

function prepare(database: Database) {
  return {
    read: inArrays(database.prepare('SELECT version, tenant, data FROM document WHERE ref = ?')),
    version: inArrays(database.prepare('SELECT version FROM document WHERE ref = ?')),
    find: database.prepare(page('listed_in = ?')),
    findOfTenant: database.prepare(page('listed_in = ? AND tenant = ?')),
    write: database.prepare(
      `INSERT INTO document (ref, collection, listed_in, tenant, version, created_at, due_at, settled_at, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (ref) DO UPDATE SET
         version = excluded.version, due_at = excluded.due_at, settled_at = excluded.settled_at, data = excluded.data
       WHERE tenant = excluded.tenant`,
    ),
    settle: database.prepare('UPDATE document SET settled_at = ? WHERE ref = ? AND tenant = ?'),
    remove: database.prepare('DELETE FROM document WHERE ref = ? AND tenant = ?'),
    head: inArrays(database.prepare('SELECT seq, hash FROM head WHERE chain = ?')),
    moveHead: database.prepare(
      'INSERT INTO head (chain, seq, hash) VALUES (?, ?, ?) ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash',
    ),
    append: database.prepare('INSERT INTO entry (workflow, chain, seq, hash, at, body) VALUES (?, ?, ?, ?, ?, ?)'),
    log: database.prepare('SELECT * FROM entry WHERE workflow = ? AND position > ? ORDER BY position LIMIT ?'),
    due: database.prepare('SELECT ref, version, tenant, data FROM document WHERE due_at <= ? ORDER BY due_at LIMIT ?'),
    endBackoffs: database.prepare(
      "UPDATE document SET due_at = ?1 WHERE due_at > ?1 AND created_at > ?1 AND json_extract(data, '$.generation') IS NULL",
    ),
    addressed: database.prepare(
      `SELECT ref, version, tenant, data FROM document
       WHERE due_at IS NOT NULL AND json_extract(data, '$.message.attributes."dormouse-to"') = ?`,
    ),
    nextDue: database.prepare('SELECT min(due_at) AS due_at FROM document WHERE due_at IS NOT NULL'),
    ceiling: database.prepare('SELECT value FROM version_ceiling'),
    raiseCeiling: database.prepare('UPDATE version_ceiling SET value = ?'),
    post: database.prepare('INSERT INTO outbox (workflow, at, message) VALUES (?, ?, ?)'),
    // What is of the future was committed before the clock was set back; what stands before one that is old enough leaves before it.
    unsent: database.prepare(
      `SELECT id, message FROM outbox
       WHERE id <= (SELECT id FROM outbox WHERE at < ? OR at > ? ORDER BY id DESC LIMIT 1) ORDER BY id LIMIT ?`,
    ),
    unsentOf: database.prepare(
      `SELECT id, message FROM outbox
       WHERE workflow = ?1
         AND id <= (SELECT id FROM outbox WHERE workflow = ?1 AND (at < ?2 OR at > ?3) ORDER BY id DESC LIMIT 1)
       ORDER BY id LIMIT ?4`,
    ),
    idsUnsentOf: inArrays(database.prepare('SELECT id FROM outbox WHERE workflow = ? ORDER BY id LIMIT ?')),
    posted: database.prepare('SELECT id, message FROM outbox WHERE id = ?'),
    clear: database.prepare('DELETE FROM outbox WHERE id = ?'),
  };
}

/** By a covering index, so that the rows that are not on the page are not read. */
function page(where: string): string {
  return `SELECT document.ref, version, tenant, data, document.created_at FROM (
      SELECT ref, created_at FROM document WHERE ${where} AND (created_at, ref) < (?, ?)
      ORDER BY created_at DESC, ref DESC LIMIT ?
    ) AS page JOIN document ON document.ref = page.ref ORDER BY page.created_at DESC, page.ref DESC`;
}

interface OutboxRow {
  readonly id: number;
  readonly message: string;
}

function unsentOf({ id, message }: OutboxRow): Unsent {
  return { id: String(id), message: JSON.parse(message) as Message };
}

function versioned({ ref, version, tenant, data }: Row): Versioned {
  return { ref, version: String(version), tenant, data: JSON.parse(data) };
}

/** What the disk would not do is nobody's failure: it is tried again, and no attempt is used up. */
function unavailable(error: unknown): unknown {
  if (!(error instanceof DatabaseError)) return error;
  return new DormouseError('store.unavailable', error.message, { cause: error });
}

function entryOf(row: Record<string, unknown>): Entry {
  const entry = JSON.parse(row.body as string);
  const { position, at } = row as { position: number; at: number };
  const cursor = String(position);
  if (row.chain === null) return { cursor, at, kind: 'journal', entry };
  return { cursor, at, kind: 'log', seq: row.seq as number, hash: row.hash as string, entry };
}
