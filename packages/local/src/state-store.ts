import { type Broker, type Database, DatabaseError } from '@dormouse/broker';
import {
  auditLog,
  type Committed,
  ConflictError,
  chainHash,
  collectionOf,
  DormouseError,
  derivedId,
  type Entry,
  encodeMessage,
  firstHash,
  type LogQuery,
  type Message,
  type Page,
  type Query,
  type Ref,
  type StateStore,
  type UnitOfWork,
  type Versioned,
  workflowOf,
  workflows,
} from '@dormouse/core';

export interface StateStoreOptions {
  readonly database: Database;
  /** The broker in the same file: outgoing messages enter its log in the commit's own transaction. */
  readonly broker: Broker;
  /** Name of the system, for the source of audit events. */
  readonly system: string;
  /** Full name of a topic in the broker. */
  readonly topicName: (topic: string) => string;
  /** Whether the system declares `audit.log`. */
  readonly audit: boolean;
  /** Statuses of workflows that are over: when they got there is kept, for retention. Default: none. */
  readonly closedStatuses?: readonly string[] | undefined;
  readonly now: () => number;
}

/** What a commit did that others wait for. Fires when it is durable. */
export interface CommitNotice {
  /** Workflows whose log or journal grew. */
  readonly workflows: readonly Ref[];
  /** When, by the clock as it was. */
  readonly at: number;
  /** The earliest timer set, if one was. */
  readonly dueAt: number | undefined;
}

const maxPageSize = 500;
const versionsAtATime = 100_000;

interface Row {
  readonly ref: string;
  readonly version: number;
  readonly tenant: string;
  readonly data: string;
}

/**
 * Documents, log and journal in SQLite, in the same file as the broker's log.
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

  async find({ collection, tenant, limit = 50, cursor }: Query): Promise<Page> {
    const [createdAt, after] = cursor === undefined ? [Number.MAX_SAFE_INTEGER, '\uffff'] : readCursor(cursor);
    if (!Number.isInteger(limit) || limit < 1) {
      throw new DormouseError('query.invalid', `limit must be a whole number from 1, got ${limit}`);
    }
    const size = Math.min(limit, maxPageSize);
    const rows = this.#reading(() =>
      tenant === undefined
        ? this.#sql.find.all(collection, createdAt, after, size + 1)
        : this.#sql.findOfTenant.all(collection, tenant, createdAt, after, size + 1),
    ) as unknown as (Row & { created_at: number })[];
    const documents = rows.slice(0, size).map(versioned);
    const last = rows[size - 1];
    return { documents, ...(rows.length > size && last && { cursor: writeCursor(last.created_at, last.ref) }) };
  }

  async *log({ workflow, after = 0 }: LogQuery): AsyncIterable<Entry> {
    for (let position = after; ; ) {
      const rows = this.#reading(() => this.#sql.log.all(workflow, position, 200));
      for (const row of rows) {
        position = row.position as number;
        yield entryOf(row);
      }
      if (rows.length < 200) return;
    }
  }

  commit(unit: UnitOfWork): Promise<Committed> {
    return this.#options.database
      .write(() => this.apply(unit))
      .catch((error) => {
        throw unavailable(error);
      });
  }

  /** Only inside a write of the database. @throws ConflictError */
  apply(unit: UnitOfWork): Committed {
    const { database, broker, topicName, audit, closedStatuses = [] } = this.#options;
    const moved = unit.reads.filter(({ ref, version }) => this.#read(ref).version !== version).map(({ ref }) => ref);
    if (moved.length > 0) throw new ConflictError(moved);
    this.#refuseUndeclared(unit);
    const now = this.#options.now();

    const { tenant } = unit;
    let earliest: number | undefined;
    const versions = unit.writes.map(({ ref, data, settledAt, ...write }) => {
      if (data === null) {
        const { changes } = this.#sql.remove.run(ref, tenant);
        if (changes === 0 && this.#read(ref).version !== null) throw taken(ref);
        return null;
      }
      const version = this.#nextVersion();
      const collection = collectionOf(ref);
      const over = collection === workflows && closedStatuses.includes(data.status as string);
      const settled = settledAt ?? (over ? now : null);
      const dueAt = write.dueAfterMs === undefined ? write.dueAt : now + write.dueAfterMs;
      if (dueAt !== undefined) earliest = Math.min(dueAt, earliest ?? dueAt);
      const row = [ref, collection, tenant, version, now, dueAt ?? null, settled, JSON.stringify(data)];
      if (this.#sql.write.run(...row).changes === 0) throw taken(ref);
      return String(version);
    });
    const touched = new Set<Ref>();
    for (const draft of unit.entries) {
      const head = this.#sql.head.get(draft.chain) as { seq: number; hash: string } | undefined;
      const seq = (head?.seq ?? 0) + 1;
      const body = JSON.stringify(draft);
      const hash = chainHash(head?.hash ?? firstHash, seq, now, body);
      this.#sql.moveHead.run(draft.chain, seq, hash);
      const workflow = workflowOf(draft.chain);
      const { lastInsertRowid } = this.#sql.append.run(workflow ?? null, draft.chain, seq, hash, now, body);
      if (workflow) touched.add(workflow);
      if (audit) {
        this.#project(Number(lastInsertRowid), tenant, workflow, now, { kind: 'log', seq, hash, entry: draft });
      }
    }
    for (const draft of unit.journal) {
      const { lastInsertRowid } = this.#sql.append.run(
        draft.workflow ?? null,
        null,
        null,
        null,
        now,
        JSON.stringify(draft),
      );
      if (draft.workflow) touched.add(draft.workflow);
      if (audit) {
        this.#project(Number(lastInsertRowid), tenant, draft.workflow, now, { kind: 'journal', entry: draft });
      }
    }
    for (const message of unit.publish) broker.append(topicName(message.topic), message);

    if (touched.size > 0 || earliest !== undefined) {
      const notice = { workflows: [...touched], at: now, dueAt: earliest };
      database.afterSync(() => this.onCommitted(notice));
    }
    return { versions };
  }

  #refuseUndeclared({ publish, writes }: UnitOfWork): void {
    const held = writes.flatMap(({ data, dueAt, dueAfterMs }) =>
      dueAt === undefined && dueAfterMs === undefined ? [] : [data!.message as Message],
    );
    for (const { topic } of [...publish, ...held]) {
      if (this.#options.broker.hasTopic(this.#options.topicName(topic))) continue;
      throw new DormouseError('topic.undeclared', `the system declares no topic "${topic}"; add it to its \`topics\``);
    }
  }

  /** Timers due by then, the earliest first. */
  due(now: number, limit: number): Versioned[] {
    return (this.#sql.due.all(now, limit) as unknown as Row[]).map(versioned);
  }

  /** Only inside a write: a backoff that began in the future is over. The clock was set back, and nobody knows how long it ran. */
  endBackoffs(now: number): void {
    this.#sql.endBackoffs.run(now);
  }

  /** Retries that wait for one subscription. */
  timersAddressedTo(subscription: string): Versioned[] {
    return (this.#sql.addressed.all(subscription) as unknown as Row[]).map(versioned);
  }

  nextDueAt(): number | undefined {
    return (this.#sql.nextDue.get()?.due_at as number | null) ?? undefined;
  }

  /** Only inside a write: a timer's message leaves, and the timer waits to be consumed by the commit that takes it. */
  fire(timer: Versioned): void {
    const { broker, topicName } = this.#options;
    if (this.#read(timer.ref).version !== timer.version) return;
    const message = timer.data!.message as Message;
    broker.append(topicName(message.topic), message);
    // A retry's timer has done its work; its delivery is told apart by its attempt.
    if (timer.data!.generation === undefined) this.#sql.remove.run(timer.ref, timer.tenant);
    else this.#sql.fired.run(this.#nextVersion(), timer.ref);
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

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw unavailable(this.#options.database.errorOf(error));
    }
  }

  #read(ref: Ref): Versioned {
    const row = this.#sql.read.get(ref) as unknown as Row | undefined;
    return row ? versioned(row) : { ref, version: null, tenant: null, data: null };
  }

  #project(
    position: number,
    tenant: string,
    workflow: Ref | undefined,
    now: number,
    entry: Record<string, unknown>,
  ): void {
    const { broker, topicName, system } = this.#options;
    const message = encodeMessage({
      id: derivedId('audit', position),
      type: auditLog.name,
      source: `//dormouse/${system}/log`,
      subject: workflow,
      time: now,
      dataschema: `${auditLog.name}/${auditLog.version}`,
      tenant,
      causationId: undefined,
      traceparent: undefined,
      data: { position, at: now, ...entry },
    });
    broker.append(topicName(auditLog.name), message);
  }
}

function prepare(database: Database) {
  return {
    read: database.prepare('SELECT ref, version, tenant, data FROM document WHERE ref = ?'),
    find: database.prepare(page('collection = ?')),
    findOfTenant: database.prepare(page('collection = ? AND tenant = ?')),
    write: database.prepare(
      `INSERT INTO document (ref, collection, tenant, version, created_at, due_at, settled_at, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (ref) DO UPDATE SET
         version = excluded.version, due_at = excluded.due_at, settled_at = excluded.settled_at, data = excluded.data
       WHERE tenant = excluded.tenant`,
    ),
    remove: database.prepare('DELETE FROM document WHERE ref = ? AND tenant = ?'),
    head: database.prepare('SELECT seq, hash FROM head WHERE chain = ?'),
    moveHead: database.prepare('INSERT OR REPLACE INTO head (chain, seq, hash) VALUES (?, ?, ?)'),
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
    fired: database.prepare('UPDATE document SET due_at = NULL, version = ? WHERE ref = ?'),
  };
}

/** By a covering index, so that the rows that are not on the page are not read. */
function page(where: string): string {
  return `SELECT document.ref, version, tenant, data, document.created_at FROM (
      SELECT ref, created_at FROM document WHERE ${where} AND (created_at, ref) < (?, ?)
      ORDER BY created_at DESC, ref DESC LIMIT ?
    ) AS page JOIN document ON document.ref = page.ref ORDER BY page.created_at DESC, page.ref DESC`;
}

function versioned({ ref, version, tenant, data }: Row): Versioned {
  return { ref, version: String(version), tenant, data: JSON.parse(data) };
}

/** What the disk would not do is nobody's failure: it is tried again, and no attempt is used up. */
function unavailable(error: unknown): unknown {
  if (!(error instanceof DatabaseError)) return error;
  return new DormouseError('store.unavailable', error.message, { cause: error });
}

/** Nothing is told of what is there, but that something is. */
function taken(ref: Ref): DormouseError {
  return new DormouseError('document.exists', `document "${ref}" exists already`);
}

function entryOf(row: Record<string, unknown>): Entry {
  const entry = JSON.parse(row.body as string);
  const { position, at } = row as { position: number; at: number };
  if (row.chain === null) return { position, at, kind: 'journal', entry };
  return { position, at, kind: 'log', seq: row.seq as number, hash: row.hash as string, entry };
}

function writeCursor(createdAt: number, ref: string): string {
  return Buffer.from(JSON.stringify([createdAt, ref])).toString('base64url');
}

function readCursor(cursor: string): [number, string] {
  try {
    const [createdAt, ref] = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (typeof createdAt === 'number' && typeof ref === 'string') return [createdAt, ref];
  } catch (cause) {
    throw new DormouseError('query.invalid', `"${cursor}" is no cursor of a page`, { cause });
  }
  throw new DormouseError('query.invalid', `"${cursor}" is no cursor of a page`);
}
