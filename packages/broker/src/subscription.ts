import type { StatementSync } from 'node:sqlite';
import type { Database } from './database.ts';
import { type Filter, parseFilter } from './filter.ts';
import type { Log, StoredMessage } from './log.ts';

/** google.pubsub.v1 Subscription, the fields that act here. Durations as in its JSON: `"10s"`. */
export interface SubscriptionConfig {
  readonly name: string;
  readonly topic: string;
  readonly pushConfig?: PushConfig;
  readonly ackDeadlineSeconds?: number;
  readonly filter?: string;
  readonly retryPolicy?: { readonly minimumBackoff?: string; readonly maximumBackoff?: string };
}

export interface PushConfig {
  readonly pushEndpoint?: string;
  readonly oidcToken?: { readonly serviceAccountEmail?: string; readonly audience?: string };
}

export interface Lease {
  readonly message: StoredMessage;
  /** Deliveries of this message on this subscription, this one included. */
  readonly attempt: number;
  expiresAt: number;
}

/** A message that may be leased: its place, and how often it has been. */
interface Candidate {
  readonly position: number;
  readonly attempts: number;
}

const candidatesAtATime = 128;
const defaultBackoff = { minMs: 100, maxMs: 60_000 };

/**
 * A cursor into the log, and the exceptions to it.
 *
 * A message of the topic is in exactly one state:
 *   position <= cursor            settled
 *   exception with due_at NULL    settled ahead of the cursor
 *   exception with due_at         waiting: nacked or expired, may be leased again from then on
 *   in `leases`                   leased, in memory only; a crash turns it back into what it was on disk
 *   position > head               not looked at yet
 * and everything between cursor and head is one of the three in the middle, or filtered out.
 *
 * Invariant: the cursor never passes a leased or waiting message. On start, head = cursor.
 */
export class SubscriptionState {
  readonly id: number;
  config: SubscriptionConfig;
  readonly leases = new Map<number, Lease>();
  readonly #log: Log;
  readonly #filter: Filter;
  readonly #statements: Statements;
  readonly #database: Database;
  #cursor: number;
  #head: number;
  #candidates: Candidate[] = [];
  /** Acked, and not yet written down for certain. */
  readonly #settled = new Map<number, Lease>();
  /** The earliest that a waiting message becomes due, as far as known; Infinity where none waits. */
  nextDueAt = Number.POSITIVE_INFINITY;

  static readonly schema = [
    `CREATE TABLE exception (
       subscription INTEGER NOT NULL,
       position INTEGER NOT NULL,
       attempts INTEGER NOT NULL,
       due_at INTEGER,
       PRIMARY KEY (subscription, position)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX exception_by_due_at ON exception (subscription, due_at) WHERE due_at IS NOT NULL;`,
  ];

  constructor(id: number, topicId: number, config: SubscriptionConfig, cursor: number, log: Log, database: Database) {
    this.id = id;
    this.config = config;
    this.#log = log;
    this.#filter = parseFilter(config.filter ?? '');
    this.#cursor = cursor;
    this.#head = cursor;
    this.#database = database;
    this.#statements = prepare(database, id, topicId);
    this.#refreshNextDue();
  }

  /** Something can be leased without another look into the log. */
  get hasCandidates(): boolean {
    return this.#candidates.length > 0;
  }

  get ackDeadlineMs(): number {
    return (this.config.ackDeadlineSeconds || 10) * 1000;
  }

  /** How many messages could be leased now, counted up to a limit of one look into the log. */
  available(now: number): number {
    this.#look(now);
    return this.#candidates.length;
  }

  /** Leases up to `max` messages until `now` + `durationMs`. Memory only: a crash undoes it. */
  lease(max: number, now: number, durationMs: number): Lease[] {
    const leases: Lease[] = [];
    while (leases.length < max) {
      this.#look(now);
      const candidate = this.#candidates[0];
      if (!candidate) break;
      // Read before it is taken from the line: a read that fails loses nothing.
      const message = this.#log.read(candidate.position);
      this.#candidates.shift();
      if (!message) continue;
      const lease = { message, attempt: candidate.attempts + 1, expiresAt: now + durationMs };
      this.leases.set(candidate.position, lease);
      leases.push(lease);
    }
    return leases;
  }

  /** Gives a lease back as if it had never been taken: nobody saw the message. */
  release(position: number): void {
    const lease = this.leases.get(position);
    if (!lease) return;
    this.leases.delete(position);
    this.#candidates.unshift({ position, attempts: lease.attempt - 1 });
  }

  /** Settles a leased message. False where the lease is gone. Durable with the next `flush`. */
  ack(position: number): boolean {
    const lease = this.leases.get(position);
    if (!lease) return false;
    this.leases.delete(position);
    this.#settled.set(position, lease);
    return true;
  }

  /** Only inside a write: sets a leased message aside until its backoff is over. The lease ends when that is durable. */
  nack(position: number, now: number): void {
    const lease = this.leases.get(position);
    if (!lease) return;
    const dueAt = now + this.#backoffMs(lease.attempt);
    this.#statements.except.run(this.id, position, lease.attempt, dueAt);
    this.#database.afterSync(() => {
      this.leases.delete(position);
      this.nextDueAt = Math.min(this.nextDueAt, dueAt);
    });
  }

  /** Only inside a write: writes down what was acked since the last time, and moves the cursor. */
  flush(): void {
    if (this.#settled.size === 0) return;
    const settled = [...this.#settled.values()];
    // In memory only when it is durable: a group that fails leaves everything to the next flush.
    this.#database.afterSync(() => {
      for (const { message } of settled) this.#settled.delete(message.position);
    });
    // What came back from a backoff has a row that says it waits.
    for (const { message, attempt } of settled) {
      if (attempt > 1) this.#statements.except.run(this.id, message.position, 0, null);
    }
    const waiting = this.#statements.firstWaiting.get()?.position as number | undefined;
    let low = Math.min(this.#head + 1, waiting ?? Number.POSITIVE_INFINITY);
    for (const position of this.leases.keys()) low = Math.min(low, position);
    for (const { position } of this.#candidates) low = Math.min(low, position);
    for (const { message, attempt } of settled) {
      if (attempt === 1 && message.position >= low) this.#statements.except.run(this.id, message.position, 0, null);
    }
    if (low - 1 > this.#cursor) {
      const cursor = low - 1;
      this.#statements.forget.run(cursor);
      this.#statements.move.run(cursor);
      this.#database.afterSync(() => {
        this.#cursor = Math.max(this.#cursor, cursor);
      });
    }
  }

  /** Backlog as a monitor would see it: not settled, whether leased, waiting or unseen. Counts rows; not for hot paths. */
  backlog(): number {
    return Number(this.#statements.backlog.get(this.#cursor)?.count ?? 0);
  }

  /** Fills the candidates: first those whose backoff is over, then the log from the head on. */
  #look(now: number): void {
    if (this.#candidates.length > 0) return;
    if (this.nextDueAt <= now) {
      for (const row of this.#statements.due.iterate(now)) {
        const position = row.position as number;
        if (this.leases.has(position) || this.#settled.has(position)) continue;
        this.#candidates.push({ position, attempts: row.attempts as number });
        if (this.#candidates.length === candidatesAtATime) return;
      }
      this.#refreshNextDue(now);
      if (this.#candidates.length > 0) return;
    }
    while (this.#candidates.length === 0 && this.#head < this.#log.end) {
      const rows = this.#statements.scan.all(this.#head, this.#log.end, candidatesAtATime);
      for (const row of rows) {
        if (row.excepted !== null) continue;
        if (this.#filter(JSON.parse(row.attributes as string))) {
          this.#candidates.push({ position: row.position as number, attempts: 0 });
        }
      }
      this.#head = rows.length < candidatesAtATime ? this.#log.end : (rows.at(-1)!.position as number);
    }
  }

  #refreshNextDue(after = -1): void {
    this.nextDueAt = (this.#statements.nextDue.get(after)?.due_at as number | undefined) ?? Number.POSITIVE_INFINITY;
  }

  #backoffMs(attempt: number): number {
    const { minimumBackoff, maximumBackoff } = this.config.retryPolicy ?? {};
    const minMs = minimumBackoff ? Number.parseFloat(minimumBackoff) * 1000 : defaultBackoff.minMs;
    const maxMs = maximumBackoff ? Number.parseFloat(maximumBackoff) * 1000 : defaultBackoff.maxMs;
    return Math.min(maxMs, minMs * 2 ** Math.min(attempt - 1, 30));
  }
}

interface Statements {
  readonly scan: StatementSync;
  readonly due: StatementSync;
  readonly nextDue: StatementSync;
  readonly firstWaiting: StatementSync;
  readonly except: StatementSync;
  readonly forget: StatementSync;
  readonly move: StatementSync;
  readonly backlog: StatementSync;
}

function prepare(database: Database, id: number, topicId: number): Statements {
  return {
    scan: database.prepare(
      `SELECT message.position, message.attributes, exception.position AS excepted FROM message
       LEFT JOIN exception ON exception.subscription = ${id} AND exception.position = message.position
       WHERE topic = ${topicId} AND message.position > ? AND message.position <= ? ORDER BY message.position LIMIT ?`,
    ),
    due: database.prepare(
      `SELECT position, attempts FROM exception WHERE subscription = ${id} AND due_at <= ? ORDER BY position`,
    ),
    nextDue: database.prepare(
      `SELECT min(due_at) AS due_at FROM exception WHERE subscription = ${id} AND due_at > ? HAVING count(*) > 0`,
    ),
    firstWaiting: database.prepare(
      `SELECT position FROM exception WHERE subscription = ${id} AND due_at IS NOT NULL ORDER BY position LIMIT 1`,
    ),
    except: database.prepare(
      'INSERT OR REPLACE INTO exception (subscription, position, attempts, due_at) VALUES (?, ?, ?, ?)',
    ),
    forget: database.prepare(`DELETE FROM exception WHERE subscription = ${id} AND position <= ?`),
    move: database.prepare(`UPDATE subscription SET cursor = ? WHERE id = ${id}`),
    backlog: database.prepare(
      `SELECT count(*) AS count FROM message WHERE topic = ${topicId} AND position > ? AND NOT EXISTS
       (SELECT 1 FROM exception WHERE subscription = ${id} AND exception.position = message.position AND due_at IS NULL)`,
    ),
  };
}
