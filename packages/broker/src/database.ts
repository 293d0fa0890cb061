import { closeSync, fdatasync, fsyncSync, openSync, type PathLike, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { Checkpoints } from './checkpoints.ts';
import { DatabaseError, databaseErrorOf } from './database-error.ts';

export interface DatabaseOptions {
  /** Makes the write-ahead log durable. Default: fdatasync of the log's file. A bench passes a slow one. */
  readonly sync?: (() => Promise<void>) | undefined;
  /**
   * What nobody waits for is synced with the next that somebody waits for, and no later than this. Milliseconds; default 20, and 0 with a `sync` of
   * one's own.
   */
  readonly leisureMs?: number | undefined;
  /** The disk refused to sync, or the file is damaged: nothing is answered any more, and the process had better end. */
  readonly onFailure?: ((error: Error) => void) | undefined;
  /** A statement of the same text is the same: for one that many brokers and stores are opened over in turn. Default false. */
  readonly keepsStatements?: boolean;
}

/** While a file is locked by another program its writers wait so long, 5 s, before they are refused. */
const lockPauseMs = 50;
const lockTries = 100;
const openTimeoutMs = 5_000;
/** Up to here SQLite looks over all pages at every start, a few milliseconds a megabyte; larger files are for `doctor` and backups. */
const checkedAtOpenBytes = 16e6;
/** SQLITE_BUSY, SQLITE_CORRUPT. Source: sqlite.org/rescode.html. */
const busy = 5;
const corrupt = 11;

interface Waiting {
  readonly durable?: () => void;
  readonly answered?: () => void;
  readonly lost?: (error: unknown) => void;
}

interface Pending {
  readonly work: () => unknown;
  readonly urgent: boolean;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * One SQLite file with group commit.
 *
 * SQLite runs on the calling thread, in WAL mode with `synchronous = NORMAL`: a commit appends to the log and waits for
 * no disk. Durability comes from an fdatasync on libuv's threads, so that waiting for the disk does not stall the event
 * loop; nor do checkpoints, which have a thread. Works queued in one turn of the loop share a transaction, each in a savepoint of its own; all groups
 * committed while a sync is under way share the next one. A group that nobody waits for begins none, since whoever publishes next would have to
 * wait for that one first and then for his own.
 *
 * Invariants: `write` resolves only when a sync that began after its commit has ended; a work that throws undoes itself
 * alone; the order of works is the order of calls. What is committed and not yet durable can be read: whoever acts
 * outside on what he read waits for `afterSync`. After power loss the file holds a prefix of the commits, since the log
 * is replayed in order up to the first frame that did not reach the disk.
 */
export class Database {
  readonly path: string;
  readonly #connection: DatabaseSync;
  /** Of each group, and of each work in it. */
  readonly #sql: Readonly<Record<'begin' | 'commit' | 'savepoint' | 'release', StatementSync>>;
  readonly #statements: Map<string, StatementSync> | undefined;
  readonly #sync: () => Promise<void>;
  readonly #onFailure: (error: Error) => void;
  /** Groups that found the file locked, one after the other. */
  #lockedOut = 0;
  #rewriting: Promise<void> | undefined;
  #queue: Pending[] = [];
  #flushing: NodeJS.Immediate | NodeJS.Timeout | undefined;
  #unsynced: Waiting[] = [];
  /** Somebody waits for what is not synced. */
  #isUrgent = false;
  #syncing: Promise<void> | undefined;
  readonly #leisureMs: number;
  #leisure: NodeJS.Timeout | undefined;
  #group: Waiting[] | undefined;
  /** Calls back in this turn of the loop: the writers are being answered. */
  #isAnswering = false;
  #walFd: number | undefined;
  readonly #checkpoints: Checkpoints | undefined;
  #failure: unknown;

  constructor(path: string, options: DatabaseOptions = {}) {
    this.path = path;
    this.#onFailure = options.onFailure ?? (() => {});
    this.#connection = open(path);
    this.#statements = options.keepsStatements ? new Map() : undefined;
    this.#sql = {
      begin: this.#connection.prepare('BEGIN IMMEDIATE'),
      commit: this.#connection.prepare('COMMIT'),
      savepoint: this.#connection.prepare('SAVEPOINT work'),
      release: this.#connection.prepare('RELEASE work'),
    };
    const inMemory = path === ':memory:';
    if (!inMemory) syncDirectory(dirname(path));
    this.#checkpoints = inMemory ? undefined : new Checkpoints(path);
    this.#leisureMs = options.leisureMs ?? (inMemory || options.sync ? 0 : 20);
    this.#sync = options.sync ?? (inMemory ? async () => {} : () => this.#syncLog());
  }

  /** Brings one component's tables to the newest version, all or nothing. @throws DatabaseError */
  migrate(component: string, versions: readonly string[]): void {
    const row = this.#connection.prepare('SELECT version FROM schema_version WHERE component = ?').get(component);
    const version = (row?.version as number | undefined) ?? 0;
    if (version > versions.length) {
      throw new DatabaseError(
        'newer',
        `${this.path}: its ${component} tables have version ${version}, this program knows up to ${versions.length}; use a newer program`,
      );
    }
    if (version === versions.length) return;
    try {
      this.#connection.exec('BEGIN IMMEDIATE');
      for (const sql of versions.slice(version)) this.#connection.exec(sql);
      this.#connection
        .prepare('INSERT OR REPLACE INTO schema_version (component, version) VALUES (?, ?)')
        .run(component, versions.length);
      this.#connection.exec('COMMIT');
    } catch (error) {
      if (this.#connection.isTransaction) this.#connection.exec('ROLLBACK');
      throw databaseErrorOf(this.path, error);
    }
  }

  /** A statement to run inside a `write`, or to read with: reads see commits that are not yet durable. */
  prepare(sql: string): StatementSync {
    const statement = this.#statements?.get(sql) ?? this.#connection.prepare(sql);
    this.#statements?.set(sql, statement);
    return statement;
  }

  /** What SQLite threw, in words. */
  errorOf(error: unknown): unknown {
    return databaseErrorOf(this.path, error);
  }

  /**
   * Runs `work` in the next group's transaction; resolves with its result when that is durable. Rejects with a
   * DatabaseError where the file or its disk would not take it: then nothing of it holds.
   * @param urgent whether somebody is kept waiting; else it may be durable some milliseconds later
   */
  write<T>(work: () => T, { urgent = true } = {}): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ work, urgent, resolve: resolve as (value: unknown) => void, reject });
      this.#flushing ??= setImmediate(() => this.#flush());
    });
  }

  /** Only inside a `write`: calls back when the group is durable, before its writers are answered; never if it fails. */
  afterSync(callback: () => void): void {
    if (!this.#group) throw new Error('afterSync is for use inside a write');
    this.#group.push({ durable: callback });
  }

  /**
   * The same when its writers were answered, as far as they come without another turn of the loop, which would come on top of the way of every message
   * from who publishes it to who handles it.
   */
  afterAnswers(callback: () => void): void {
    if (!this.#group) throw new Error('afterAnswers is for use inside a write');
    this.#group.push({ answered: callback });
  }

  /** No work is queued, all that was committed is durable, and all are told. */
  get isIdle(): boolean {
    const isWritten = this.#queue.length === 0 && this.#syncing === undefined && this.#unsynced.length === 0;
    return isWritten && !this.#isAnswering;
  }

  /**
   * Writes the file anew, on a thread of its own, so that nothing is left in it of what was deleted: pages and the room in
   * them keep old bytes until they are used again. Meanwhile writes wait; reads go on. Needs room for the file once more
   * beside it, and once in the system's folder for temporary files.
   * @throws DatabaseError where the disk is full, or somebody else reads the file for longer than half a minute
   */
  rewrite(): Promise<void> {
    // One that is under way may be past what was deleted since.
    const before = this.#rewriting ?? Promise.resolve();
    const rewriting = before.catch(() => {}).then(() => this.#rewrite());
    const over = () => {
      if (this.#rewriting === rewriting) this.#rewriting = undefined;
    };
    this.#rewriting = rewriting;
    rewriting.then(over, over);
    return rewriting;
  }

  async #rewrite(): Promise<void> {
    // All that was deleted is committed, whoever deleted it.
    await this.write(() => {});
    if (this.path === ':memory:') return;
    const worker = new Worker(new URL('./rewrite-worker.ts', import.meta.url), {
      workerData: this.path,
      env: {},
      execArgv: [],
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    worker.on('error', (error) => reject(this.errorOf(error)));
    worker.on('exit', () => resolve());
    // All of it is in the write-ahead log at first: a commit here would move that into the file, on this thread.
    this.#connection.exec('PRAGMA wal_autocheckpoint = 0');
    await promise.finally(() => this.#connection.exec(`PRAGMA wal_autocheckpoint = ${Checkpoints.restartFrames}`));
  }

  /** Waits for what is queued, then closes the file. Later writes are refused; closing again does nothing. */
  async close(): Promise<void> {
    if (!this.#connection.isOpen) return;
    await this.#rewriting?.catch(() => {});
    while (!this.isIdle) {
      if (this.#unsynced.length > 0) this.#syncSoon(0);
      if (this.#syncing) await this.#syncing;
      else await new Promise(setImmediate);
    }
    this.#failure ??= new Error(`${this.path} is closed`);
    await this.#checkpoints?.close();
    if (this.#walFd !== undefined) closeSync(this.#walFd);
    this.#connection.close();
  }

  #flush(): void {
    this.#flushing = undefined;
    const group = this.#queue;
    this.#queue = [];
    const answers: Waiting[] = [];
    if (this.#failure !== undefined) {
      for (const { reject } of group) reject(this.#failure);
      return;
    }
    this.#group = [];
    try {
      this.#sql.begin.run();
      this.#lockedOut = 0;
      for (const { work, resolve, reject } of group) {
        const callbacks = this.#group.length;
        this.#sql.savepoint.run();
        try {
          const value = work();
          this.#sql.release.run();
          answers.push({ durable: () => resolve(value), lost: reject });
        } catch (error) {
          const told = this.errorOf(error);
          // A full or failing disk has undone the whole group; after damage nothing more may be written.
          if (!this.#connection.isTransaction || isDamage(told)) throw error;
          this.#connection.exec('ROLLBACK TO work; RELEASE work');
          this.#group.length = callbacks;
          answers.push({ durable: () => reject(told), lost: reject });
        }
      }
      this.#sql.commit.run();
    } catch (error) {
      if (this.#connection.isTransaction) this.#connection.exec('ROLLBACK');
      this.#group = undefined;
      this.#refuse(group, this.errorOf(error));
      return;
    }
    for (const waiting of this.#group) this.#unsynced.push(waiting);
    for (const waiting of answers) this.#unsynced.push(waiting);
    this.#group = undefined;
    this.#checkpoints?.notice();
    this.#syncSoon(group.some(({ urgent }) => urgent) ? 0 : this.#leisureMs);
  }

  #syncSoon(afterMs: number): void {
    if (afterMs > 0) {
      if (!this.#syncing) this.#leisure ??= setTimeout(() => this.#syncSoon(0), afterMs);
      return;
    }
    clearTimeout(this.#leisure);
    this.#leisure = undefined;
    this.#isUrgent = true;
    this.#syncing ??= this.#syncAll();
  }

  /** Nothing of the group holds. Who holds the file may be done soon: then it is tried again, without waiting in SQLite, which would stall the loop. */
  #refuse(group: Pending[], error: unknown): void {
    if (isLock(error) && (this.#rewriting || this.#lockedOut < lockTries)) {
      this.#lockedOut++;
      this.#queue = [...group, ...this.#queue];
      this.#flushing = setTimeout(() => this.#flush(), lockPauseMs);
      return;
    }
    for (const { reject } of group) reject(error);
    if (isDamage(error)) this.#fail(error);
  }

  #fail(failure: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    this.#onFailure(failure);
  }

  async #syncAll(): Promise<void> {
    while (this.#isUrgent) {
      const group = this.#unsynced;
      this.#unsynced = [];
      this.#isUrgent = false;
      try {
        await this.#sync();
      } catch (error) {
        // After a failed fsync nobody knows what the disk holds. Answer nothing more; a restart reads what is there.
        const failure = new DatabaseError(
          'unavailable',
          `${this.path}: the disk refused to sync; check it, then start again`,
          { cause: error },
        );
        for (const { lost } of [...group, ...this.#unsynced]) lost?.(failure);
        this.#unsynced = [];
        this.#fail(failure);
        break;
      }
      for (const { durable } of group) this.#tell(durable);
      const answered = group.filter((each) => each.answered);
      if (answered.length === 0) continue;
      this.#isAnswering = true;
      // A tick comes when all promises have gone as far as they can.
      process.nextTick(() => {
        this.#isAnswering = false;
        for (const each of answered) this.#tell(each.answered);
      });
    }
    this.#syncing = undefined;
    if (this.#unsynced.length > 0) this.#syncSoon(this.#leisureMs);
  }

  #tell(callback: (() => void) | undefined): void {
    try {
      callback?.();
    } catch (error) {
      const told = this.errorOf(error);
      if (isDamage(told)) {
        this.#fail(told);
        return;
      }
      // One that throws must not keep the others from their answers; it is nobody's answer itself.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #syncLog(): Promise<void> {
    this.#walFd ??= openSync(`${this.path}-wal`, 'r+');
    const fd = this.#walFd;
    return new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())));
  }
}

/** @throws DatabaseError */
function open(path: string): DatabaseSync {
  let connection: DatabaseSync | undefined;
  try {
    const isSmall = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) <= checkedAtOpenBytes;
    connection = new DatabaseSync(path, { timeout: openTimeoutMs });
    connection.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      PRAGMA wal_autocheckpoint = ${Checkpoints.restartFrames};
      PRAGMA temp_store = MEMORY;
      PRAGMA cache_size = -8000;
    `);
    const damage = isSmall ? connection.prepare('PRAGMA quick_check(1)').get()?.quick_check : 'ok';
    if (damage !== 'ok') throw Object.assign(new Error(String(damage).replaceAll('\n', ' ')), { errcode: corrupt });
    connection.exec(`
      CREATE TABLE IF NOT EXISTS schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;
      PRAGMA busy_timeout = 0;
    `);
    return connection;
  } catch (error) {
    connection?.close();
    throw databaseErrorOf(path, error);
  }
}

function isDamage(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.kind === 'damaged';
}

function isLock(error: unknown): boolean {
  return error instanceof DatabaseError && (error.cause as { errcode?: number }).errcode === busy;
}

function syncDirectory(path: PathLike): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}
