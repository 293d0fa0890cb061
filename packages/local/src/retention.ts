import { rm } from 'node:fs/promises';
import type { Broker, Database } from '@dormouse/broker';
import {
  type Clock,
  causeOf,
  everyTenant,
  idOf,
  type JournalDraft,
  type Logger,
  type Ref,
  type Removed,
  refOf,
  removedRef,
} from '@dormouse/core';
import { FileBlobStore } from './blob-store.ts';
import type { DataDirectory } from './data-directory.ts';
import { LockFile } from './lock-file.ts';
import type { SqliteStateStore } from './state-store.ts';

/** How long what is done is kept, in milliseconds; undefined: for ever. The chained log is always kept. */
export interface RetentionSettings {
  /** What tells repeats: inbox entries, results of activities, consumed timers. Default 30d, at least 1d. */
  readonly inboxMs: number | undefined;
  /** Messages that every subscription has settled. Default 7d, at least 1h. */
  readonly logMs: number | undefined;
  /** Failed attempts of deliveries that are settled since. Default: for ever. */
  readonly journalMs: number | undefined;
  /** Files of workflows that are over. Default: for ever. */
  readonly filesMs: number | undefined;
}

export interface RetentionOptions {
  readonly directory: Pick<DataDirectory, 'join'>;
  readonly database: Database;
  readonly broker: Broker;
  readonly store: SqliteStateStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: RetentionSettings;
}

export interface Pruned {
  readonly messages: number;
  readonly documents: number;
  readonly journal: number;
  /** Workflows whose files went. */
  readonly files: number;
  /** Files that were never finished: whoever wrote them was killed. */
  readonly unfinished: number;
}

const firstRoundMs = 60_000;
const everyMs = 3_600_000;
/** One to two milliseconds of the host's thread (300,000 rows removed at 20,000 to 50,000 a second); pushes go on between steps. */
const rowsAtATime = 50;
/** What a clock that was set may be off by. */
const clockMarginMs = 86_400_000;

/**
 * Removes what is done and older than its retention, once an hour, a few rows at a time.
 *
 * A delivery can come again while its message is in the broker's log and its subscription's cursor has not passed it, as
 * a retry, or redriven from a dead letter. So, with M the time when the oldest message was published that somebody has
 * not settled:
 * - a message goes when every subscription's cursor is past it; an unsettled one never, however old;
 * - an inbox entry goes when it is settled, before M; one that waits for a retry or a redrive never;
 * - an activity's result goes when it was settled with its inbox entry, before M;
 * - a consumed timer goes when consumed before M, and no delivery of its message waits;
 * - a failed attempt goes when its delivery is settled;
 * - an unfinished file goes after a day;
 * - files go with their workflow over since before M, without timer or dead letter, and while no backup copies them.
 * M is taken once a round: it only grows.
 */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #sql: ReturnType<typeof prepare>;
  #cancel: () => void = () => {};
  #round: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#sql = prepare(options.database);
  }

  start(): void {
    this.#wait(firstRoundMs);
  }

  /** Waits for the step under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#round;
  }

  /** Removes all that may go now. */
  async round(): Promise<Pruned> {
    const { broker, clock, directory, settings } = this.#options;
    const now = clock.now();
    const quietBefore = (await broker.oldestUnsettledAt()) - clockMarginMs;
    const before = (ms: number) => Math.min(now - ms, quietBefore);
    const { inboxMs, logMs, journalMs, filesMs } = settings;
    const messages = logMs === undefined ? 0 : await this.#messages(now - logMs);
    const documents = inboxMs === undefined ? 0 : await this.#documents(before(inboxMs));
    const journal = journalMs === undefined ? 0 : await this.#journal(before(journalMs));
    const files = filesMs === undefined ? 0 : await this.#files(before(filesMs), now);
    const unfinished = new FileBlobStore(directory.join('files')).removeUnfinished(now - clockMarginMs);
    return { messages, documents, journal, files, unfinished };
  }

  #wait(ms: number): void {
    if (this.#stopped) return;
    this.#cancel = this.#options.clock.after(ms, () => {
      this.#round = this.#logged().finally(() => this.#wait(everyMs));
    });
  }

  async #logged(): Promise<void> {
    const { log } = this.#options;
    try {
      const pruned = await this.round();
      if (Object.values(pruned).some((count) => count > 0)) log.info('retention.pruned', { ...pruned });
    } catch (error) {
      log.warn('retention.failed', { cause: causeOf(error), againInMs: everyMs });
    }
  }

  async #messages(publishedBefore: number): Promise<number> {
    let count = 0;
    for (let removed = 1; removed > 0 && !this.#stopped; count += removed) {
      removed = await this.#options.broker.housekeeping.prune(rowsAtATime, publishedBefore);
    }
    return count;
  }

  async #documents(before: number): Promise<number> {
    const { database } = this.#options;
    let count = 0;
    for (let last: Settled | undefined = { ref: '', settled_at: 0 }; last && !this.#stopped; ) {
      const after: Settled = last;
      last = await database.write(() => {
        const rows = this.#sql.settled.all(after.settled_at, after.ref, before, rowsAtATime) as unknown as Settled[];
        for (const { ref } of rows) if (this.#mayGo(ref)) count += Number(this.#sql.remove.run(ref).changes);
        return rows.length < rowsAtATime ? undefined : rows.at(-1);
      });
    }
    return count;
  }

  #mayGo(ref: Ref): boolean {
    const kind = ref.slice(0, ref.indexOf('/'));
    if (kind === 'inbox') return true;
    // Older programs settled it as they made it.
    if (kind === 'activities') return !this.#waits(this.#sql.inboxOf.get(ref)!.inbox as Ref | null);
    if (kind === 'timers') return this.#sql.timerInUse.get(ref) === undefined;
    return false;
  }

  /** A delivery that will run again. */
  #waits(inbox: Ref | null): boolean {
    const state = this.#sql.stateOf.get(inbox)?.state;
    return state !== undefined && state !== 'settled';
  }

  async #journal(before: number): Promise<number> {
    const { database, store } = this.#options;
    let count = 0;
    for (let last: Attempt | undefined = { position: 0, at: 0, body: '' }; last && !this.#stopped; ) {
      const after: Attempt = last;
      last = await database.write(() => {
        const rows = this.#sql.attempts.all(after.at, after.position, before, rowsAtATime) as unknown as Attempt[];
        for (const { position, body } of rows) {
          const { inbox, workflow }: JournalDraft = JSON.parse(body);
          // One of an older program does not say whose it is.
          if (inbox === undefined || this.#waits(inbox)) continue;
          this.#sql.removeAttempt.run(position);
          count++;
          if (workflow) this.#tell(store, workflow, { journalBefore: before });
        }
        return rows.length < rowsAtATime ? undefined : rows.at(-1);
      });
    }
    return count;
  }

  async #files(before: number, now: number): Promise<number> {
    const { database, store } = this.#options;
    const troubled = new Set(this.#sql.troubled.all().map(({ workflow }) => workflow as Ref));
    for (let last: Settled | undefined = { ref: '', settled_at: 0 }; last && !this.#stopped; ) {
      const after: Settled = last;
      // First it is written down, then they go: a crash between the two is made good by the next round.
      last = await database.write(() => {
        const rows = this.#sql.closed.all(after.settled_at, after.ref, before, rowsAtATime) as unknown as Settled[];
        for (const { ref } of rows) {
          if (troubled.has(ref) || this.#sql.pending.get(`${refOf('timers', idOf(ref))}/named`)) continue;
          this.#tell(store, ref, { filesAt: now }, 0);
          this.#sql.seen.run(ref);
        }
        return rows.length < rowsAtATime ? undefined : rows.at(-1);
      });
    }
    return this.#unlink();
  }

  async #unlink(): Promise<number> {
    const { database, directory, store } = this.#options;
    let count = 0;
    for (;;) {
      const [found] = this.#sql.toUnlink.all();
      if (!found || this.#stopped) return count;
      const lock = LockFile.take(directory.join('files.lock'));
      // A backup is being made: the next round finds them.
      if (!lock) return count;
      const workflow = refOf('workflows', idOf(found.ref as Ref));
      try {
        await rm(directory.join('files', idOf(workflow)), { recursive: true, force: true });
      } finally {
        lock.release();
      }
      await database.write(() => this.#tell(store, workflow, {}));
      count++;
    }
  }

  /** Only inside a write. */
  #tell(store: SqliteStateStore, workflow: Ref, removed: Removed, settledAt?: number): void {
    const ref = removedRef(workflow);
    const { data, tenant } = { ...this.#sql.read.get(ref) } as { data?: string; tenant?: string };
    const known = data === undefined ? {} : JSON.parse(data);
    store.apply({
      tenant: tenant ?? (this.#sql.read.get(workflow)?.tenant as string | undefined) ?? everyTenant,
      reads: [],
      writes: [{ ref, data: { ...known, ...removed }, ...(settledAt !== undefined && { settledAt }) }],
      entries: [],
      journal: [],
      publish: [],
    });
  }
}

interface Settled {
  readonly ref: Ref;
  readonly settled_at: number;
}

interface Attempt {
  readonly position: number;
  readonly at: number;
  readonly body: string;
}

function prepare(database: Database) {
  return {
    settled: database.prepare(
      `SELECT ref, settled_at FROM document WHERE settled_at IS NOT NULL AND collection <> 'workflows'
       AND (settled_at, ref) > (?, ?) AND settled_at < ? ORDER BY settled_at, ref LIMIT ?`,
    ),
    closed: database.prepare(
      `SELECT ref, settled_at FROM document WHERE settled_at IS NOT NULL AND collection = 'workflows'
       AND (settled_at, ref) > (?, ?) AND settled_at < ? ORDER BY settled_at, ref LIMIT ?`,
    ),
    seen: database.prepare('UPDATE document SET settled_at = NULL WHERE ref = ?'),
    toUnlink: database.prepare(
      `SELECT ref FROM document WHERE settled_at = 0 AND settled_at IS NOT NULL AND collection <> 'workflows' LIMIT 1`,
    ),
    remove: database.prepare('DELETE FROM document WHERE ref = ?'),
    read: database.prepare('SELECT data, tenant FROM document WHERE ref = ?'),
    inboxOf: database.prepare(`SELECT json_extract(data, '$.inbox') AS inbox FROM document WHERE ref = ?`),
    stateOf: database.prepare(`SELECT json_extract(data, '$.state') AS state FROM document WHERE ref = ?`),
    timerInUse: database.prepare(
      `SELECT 1 FROM document WHERE collection = 'inbox' AND json_extract(data, '$.timer') = ? LIMIT 1`,
    ),
    attempts: database.prepare(
      `SELECT position, at, body FROM entry WHERE chain IS NULL AND (at, position) > (?, ?) AND at < ?
       ORDER BY at, position LIMIT ?`,
    ),
    removeAttempt: database.prepare('DELETE FROM entry WHERE position = ? AND chain IS NULL'),
    troubled: database.prepare(
      `SELECT json_extract(data, '$.workflow') AS workflow FROM document
       WHERE listed_in = 'dead-letters' AND json_extract(data, '$.state') IN ('open', 'redriving')`,
    ),
    pending: database.prepare('SELECT 1 FROM document WHERE listed_in = ? AND due_at IS NOT NULL LIMIT 1'),
  };
}
