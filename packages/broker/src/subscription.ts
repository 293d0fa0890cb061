import type { StatementSync } from 'node:sqlite';
import type { Database } from './database.ts';
import { type Filter, parseFilter } from './filter.ts';
import type { Log, StoredMessage } from './log.ts';

/** google.pubsub.v1 Subscription: what acts here, and what is only kept. Durations as in its JSON: `"10s"`. */
export interface SubscriptionConfig {
  readonly name: string;
  readonly topic: string;
  readonly pushConfig?: PushConfig;
  readonly ackDeadlineSeconds?: number;
  readonly filter?: string;
  readonly retryPolicy?: { readonly minimumBackoff?: string; readonly maximumBackoff?: string };
  readonly labels?: Readonly<Record<string, string>>;
  readonly expirationPolicy?: unknown;
  readonly detached?: boolean;
  readonly bigqueryConfig?: unknown;
  readonly cloudStorageConfig?: unknown;
  readonly bigtableConfig?: unknown;
}

export interface PushConfig {
  readonly pushEndpoint?: string;
  readonly oidcToken?: { readonly serviceAccountEmail?: string; readonly audience?: string };
  readonly attributes?: Readonly<Record<string, string>>;
}

export interface Lease {
  readonly message: StoredMessage;
  /** Deliveries of this message on this subscription, this one included. */
  readonly attempt: number;
  /** Deliveries in which whoever had it died. */
  readonly deaths: number;
  readonly lane: string;
  expiresAt: number;
  /** Acked, nacked, expired, released, or its subscription gone. */
  onEnd?: () => void;
}

/** A message that may be leased: its place, and how often it has been. */
interface Candidate {
  readonly position: number;
  readonly attempts: number;
  readonly deaths: number;
}

/** A candidate that a process died of, or of another that it held with it: to be given to a process alone. */
interface Suspect extends Candidate {
  readonly lane: string;
}

/** Which messages a lease is for: those that go with others, the suspects, or both. */
export type LeaseOf = 'company' | 'suspects' | 'any';

export interface Wanted {
  /** Default any. */
  readonly of?: LeaseOf;
  /** Of the lanes, whether something of it is wanted. Default all. */
  readonly mayTake?: (lane: string) => boolean;
  /** No more is leased once there is as much. Default without limit. */
  readonly maxBytes?: number;
}

/** The messages that take turns with those of other lanes: a tenant's. */
interface Lane {
  /** Looked at up to here. */
  head: number;
  readonly candidates: Candidate[];
}

/** A lane's; there are as many lanes as tenants with a backlog, and all of it is in memory. */
const candidatesAtATime = 32;
const defaultBackoff = { minMs: 100, maxMs: 60_000 };

/**
 * A cursor into the log, and the exceptions to it.
 *
 * A message of the topic is in exactly one state:
 *   position <= cursor            settled
 *   exception with due_at NULL    settled ahead of the cursor
 *   exception with due_at         waiting: nacked or expired, may be leased again from then on
 *   in `leases`                   leased, in memory only; a crash turns it back into what it was on disk
 *   candidate of its lane         may be leased, in memory only
 *   in `suspects`                 may be leased, in memory only, apart from the lanes
 *   position > its lane's head    not looked at yet
 * and everything between the cursor and the head of its lane is one of the five in the middle, or filtered out.
 *
 * Lanes take turns, one message each. A lane is in memory while it has, or may have, something to lease.
 *
 * Invariant: the cursor never passes a leased, waiting or unseen message. On start, every head = cursor.
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
  /** In the order of their turns. */
  readonly #lanes = new Map<string, Lane>();
  /** Candidates that come from a backoff. */
  readonly #recalled = new Set<number>();
  readonly #suspects: Suspect[] = [];
  /** Acked, and not yet written down for certain. */
  readonly #settled = new Map<number, Lease>();
  /** The earliest that a waiting message becomes due, as far as known; Infinity where none waits. */
  nextDueAt = Number.POSITIVE_INFINITY;
  /** Told when there may be something to lease, and when it ends. */
  readonly waiting = new Set<() => void>();
  #ended = false;

  static readonly schema = [
    `CREATE TABLE exception (
       subscription INTEGER NOT NULL,
       position INTEGER NOT NULL,
       attempts INTEGER NOT NULL,
       due_at INTEGER,
       PRIMARY KEY (subscription, position)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX exception_by_due_at ON exception (subscription, due_at) WHERE due_at IS NOT NULL;`,
    'ALTER TABLE exception ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;',
  ];

  constructor(id: number, topicId: number, config: SubscriptionConfig, cursor: number, log: Log, database: Database) {
    this.id = id;
    this.config = config;
    this.#log = log;
    this.#filter = parseFilter(config.filter ?? '');
    this.#cursor = cursor;
    this.#database = database;
    this.#statements = prepare(database, id, topicId);
    for (const { lane } of this.#statements.lanes.all(cursor)) this.notice(lane as string, cursor + 1);
    this.#refreshNextDue();
  }

  /** Deleted or detached: it offers nothing any more. */
  get ended(): boolean {
    return this.#ended;
  }

  end(): void {
    this.#ended = true;
    this.#lanes.clear();
    this.#suspects.length = 0;
    this.#settled.clear();
    this.nextDueAt = Number.POSITIVE_INFINITY;
    for (const position of [...this.leases.keys()]) this.#endLease(position);
  }

  /** Something can be leased without another look into the log. */
  get hasCandidates(): boolean {
    return this.#suspects.length > 0 || [...this.#lanes.values()].some(({ candidates }) => candidates.length > 0);
  }

  get ackDeadlineMs(): number {
    return (this.config.ackDeadlineSeconds || 10) * 1000;
  }

  /** A message of this lane became durable. */
  notice(lane: string, position: number): void {
    if (!this.#lanes.has(lane)) this.#lanes.set(lane, { head: position - 1, candidates: [] });
  }

  /** The lanes that may have something to lease. */
  get lanes(): Iterable<string> {
    return this.#lanes.keys();
  }

  /** Whether something can be leased now. */
  available(now: number, { of = 'any', mayTake }: Wanted = {}): boolean {
    this.#recall(now);
    if (of !== 'company' && this.#suspects.length > 0) return true;
    return of !== 'suspects' && this.#next(mayTake) !== undefined;
  }

  /** Leases up to `max` messages until `now` + `durationMs`. Memory only: a crash undoes it. */
  lease(max: number, now: number, durationMs: number, wanted: Wanted = {}): Lease[] {
    const { of = 'any', mayTake, maxBytes = Number.POSITIVE_INFINITY } = wanted;
    const leases: Lease[] = [];
    let bytes = 0;
    while (leases.length < max && bytes < maxBytes) {
      this.#recall(now);
      const next = of === 'suspects' ? undefined : this.#next(mayTake);
      const line = next?.[1].candidates ?? (of === 'company' ? [] : this.#suspects);
      const candidate = line[0];
      if (!candidate) break;
      const { position, attempts, deaths } = candidate;
      const lane = next?.[0] ?? (candidate as Suspect).lane;
      // Read before it is taken from the line: a read that fails loses nothing.
      const message = this.#log.read(position);
      line.shift();
      this.#recalled.delete(position);
      if (next) {
        // To the end of the line: the next turn is another's.
        this.#lanes.delete(lane);
        this.#lanes.set(lane, next[1]);
      }
      if (!message) continue;
      const lease: Lease = { message, attempt: attempts + 1, deaths, lane, expiresAt: now + durationMs };
      this.leases.set(position, lease);
      leases.push(lease);
      bytes += bytesOf(message);
    }
    return leases;
  }

  /** Gives a lease back as if it had never been taken: nobody saw the message. */
  release(position: number): void {
    const lease = this.leases.get(position);
    if (!lease) return;
    this.#endLease(position);
    const { attempt, deaths, lane } = lease;
    const candidate = { position, attempts: attempt - 1, deaths };
    if (deaths > 0) this.#suspects.unshift({ ...candidate, lane });
    else this.#laneOf(lane).candidates.unshift(candidate);
  }

  /** Settles a leased message. False where the lease is gone. Durable with the next `flush`. */
  ack(position: number): boolean {
    const lease = this.leases.get(position);
    if (!lease) return false;
    this.#endLease(position);
    this.#settled.set(position, lease);
    return true;
  }

  /**
   * Only inside a write: sets a leased message aside until its backoff is over. The lease ends when that is durable.
   * @param died whoever had it died meanwhile
   */
  nack(position: number, now: number, died = false): void {
    const lease = this.leases.get(position);
    if (!lease) return;
    // Most of those that a process had when it died have nothing to do with it: they go on at once, each alone.
    const backoffMs = died ? (lease.deaths === 0 ? 0 : this.#backoffMs(lease.deaths)) : this.#backoffMs(lease.attempt);
    const dueAt = now + backoffMs;
    this.#statements.except.run(this.id, position, lease.attempt, lease.deaths + (died ? 1 : 0), dueAt);
    this.#database.afterSync(() => {
      if (this.#ended) return;
      // Of two nacks under way, the first may have let it be leased again.
      if (this.leases.get(position) === lease) this.#endLease(position);
      this.nextDueAt = Math.min(this.nextDueAt, dueAt);
    });
  }

  /**
   * Only inside a write: writes down what was acked since the last time, and moves the cursor. With `always`, also over
   * what the filter leaves out and nobody acks.
   */
  flush(always = false): void {
    if (this.#settled.size === 0 && !always) return;
    const settled = [...this.#settled.values()];
    // In memory only when it is durable: a group that fails leaves everything to the next flush.
    this.#database.afterSync(() => {
      for (const { message } of settled) this.#settled.delete(message.position);
    });
    // What came back from a backoff has a row that says it waits.
    for (const { message, attempt } of settled) {
      if (attempt > 1) this.#statements.except.run(this.id, message.position, 0, 0, null);
    }
    const waiting = this.#statements.firstWaiting.get()?.position as number | undefined;
    let low = Math.min(this.#log.end + 1, waiting ?? Number.POSITIVE_INFINITY);
    for (const position of this.leases.keys()) low = Math.min(low, position);
    for (const { position } of this.#suspects) low = Math.min(low, position);
    for (const { head, candidates } of this.#lanes.values()) {
      low = Math.min(low, head + 1);
      for (const { position } of candidates) low = Math.min(low, position);
    }
    for (const { message, attempt } of settled) {
      if (attempt === 1 && message.position >= low) this.#statements.except.run(this.id, message.position, 0, 0, null);
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

  /** When the first message past the cursor was published; undefined where there is none. */
  firstUnsettledAt(): number | undefined {
    return (this.#statements.firstUnsettled.get(this.#cursor)?.at as number | null) ?? undefined;
  }

  /** Backlog as a monitor would see it: not settled, whether leased, waiting or unseen. Counts rows; not for hot paths. */
  backlog(): number {
    return Number(this.#statements.backlog.get(this.#cursor)?.count ?? 0);
  }

  #endLease(position: number): void {
    const lease = this.leases.get(position);
    this.leases.delete(position);
    lease?.onEnd?.();
  }

  /** The lane whose turn it is, with a candidate. Lanes that have come to their end are forgotten. */
  #next(mayTake: (lane: string) => boolean = () => true): [string, Lane] | undefined {
    for (const next of this.#lanes) {
      const [name, lane] = next;
      if (!mayTake(name)) continue;
      this.#look(name, lane);
      if (lane.candidates.length > 0) return next;
      this.#lanes.delete(name);
    }
    return undefined;
  }

  /** What has its backoff behind it becomes a candidate, so many at a time, the longest due first: what fails again goes behind. */
  #recall(now: number): void {
    if (this.nextDueAt > now || this.#recalled.size > 0) return;
    let left = false;
    for (const row of this.#statements.due.iterate(now)) {
      const position = row.position as number;
      if (this.leases.has(position) || this.#settled.has(position)) continue;
      const { attempts, deaths, lane } = row as unknown as Suspect;
      const line: Candidate[] = deaths > 0 ? this.#suspects : this.#laneOf(lane).candidates;
      // Given back after it had been recalled.
      if (line.some((each) => each.position === position)) continue;
      // Suspects go one by one: however many there are, the others pass them.
      if (deaths > 0 && this.#suspects.length === candidatesAtATime) {
        left = true;
        continue;
      }
      const suspect: Suspect = { position, attempts, deaths, lane };
      line.push(suspect);
      if (deaths > 0) continue;
      this.#recalled.add(position);
      if (this.#recalled.size === candidatesAtATime) return;
    }
    if (!left) this.#refreshNextDue(now);
  }

  /** Fills the candidates of a lane from its head on. */
  #look(name: string, lane: Lane): void {
    const { end } = this.#log;
    while (lane.candidates.length === 0 && lane.head < end) {
      const rows = this.#statements.scan.all(name, lane.head, end, candidatesAtATime);
      for (const row of rows) {
        if (row.excepted !== null) continue;
        if (this.#filter(JSON.parse(row.attributes as string))) {
          lane.candidates.push({ position: row.position as number, attempts: 0, deaths: 0 });
        }
      }
      lane.head = rows.length < candidatesAtATime ? end : (rows.at(-1)!.position as number);
    }
  }

  /** A lane to put something back into, also one that had come to its end. */
  #laneOf(name: string): Lane {
    this.notice(name, this.#log.end + 1);
    return this.#lanes.get(name)!;
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

/** Of data, attributes and ordering key, as limits and flow control count. */
export function bytesOf({ data, attributes, orderingKey = '' }: StoredMessage): number {
  let bytes = Math.floor(data.length * 0.75) + Buffer.byteLength(orderingKey);
  for (const [key, value] of Object.entries(attributes)) bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  return bytes;
}

interface Statements {
  readonly lanes: StatementSync;
  readonly scan: StatementSync;
  readonly due: StatementSync;
  readonly nextDue: StatementSync;
  readonly firstWaiting: StatementSync;
  readonly except: StatementSync;
  readonly forget: StatementSync;
  readonly move: StatementSync;
  readonly backlog: StatementSync;
  readonly firstUnsettled: StatementSync;
}

function prepare(database: Database, id: number, topicId: number): Statements {
  // One step in the index from lane to lane, whatever their length.
  const lanes = `WITH RECURSIVE lanes (lane) AS (
    SELECT min(lane) FROM message WHERE topic = ${topicId}
    UNION ALL
    SELECT (SELECT min(lane) FROM message WHERE topic = ${topicId} AND message.lane > lanes.lane) FROM lanes WHERE lane IS NOT NULL
  )`;
  const ofLane = `topic = ${topicId} AND message.lane = lanes.lane AND message.position > ?`;
  return {
    lanes: database.prepare(`${lanes} SELECT lane FROM lanes WHERE EXISTS (SELECT 1 FROM message WHERE ${ofLane})`),
    scan: database.prepare(
      `SELECT message.position, message.attributes, exception.position AS excepted FROM message
       LEFT JOIN exception ON exception.subscription = ${id} AND exception.position = message.position
       WHERE topic = ${topicId} AND lane = ? AND message.position > ? AND message.position <= ? ORDER BY message.position LIMIT ?`,
    ),
    due: database.prepare(
      `SELECT exception.position, attempts, deaths, lane FROM exception JOIN message USING (position)
       WHERE subscription = ${id} AND due_at <= ? ORDER BY due_at, exception.position`,
    ),
    nextDue: database.prepare(
      `SELECT min(due_at) AS due_at FROM exception WHERE subscription = ${id} AND due_at > ? HAVING count(*) > 0`,
    ),
    firstWaiting: database.prepare(
      `SELECT position FROM exception WHERE subscription = ${id} AND due_at IS NOT NULL ORDER BY position LIMIT 1`,
    ),
    except: database.prepare(
      'INSERT OR REPLACE INTO exception (subscription, position, attempts, deaths, due_at) VALUES (?, ?, ?, ?, ?)',
    ),
    forget: database.prepare(`DELETE FROM exception WHERE subscription = ${id} AND position <= ?`),
    move: database.prepare(`UPDATE subscription SET cursor = ? WHERE id = ${id}`),
    firstUnsettled: database.prepare(
      `${lanes} SELECT min((SELECT published_at FROM message WHERE ${ofLane} ORDER BY position LIMIT 1)) AS at FROM lanes`,
    ),
    backlog: database.prepare(
      `${lanes} SELECT count(*) AS count FROM lanes CROSS JOIN message WHERE ${ofLane} AND NOT EXISTS
       (SELECT 1 FROM exception WHERE subscription = ${id} AND exception.position = message.position AND due_at IS NULL)`,
    ),
  };
}
