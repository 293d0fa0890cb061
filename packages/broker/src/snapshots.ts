import { alreadyExists, BrokerError, notFound } from './broker-error.ts';
import type { Database } from './database.ts';
import type { Log } from './log.ts';
import type { SubscriptionState } from './subscription.ts';

/** google.pubsub.v1 Snapshot. */
export interface Snapshot {
  readonly name: string;
  readonly topic: string;
  readonly expireTime: string;
  readonly labels?: Readonly<Record<string, string>>;
}

const hourMs = 3_600_000;
/** A snapshot lasts as long less the age of its oldest message. Source: google.pubsub.v1 Snapshot.expire_time. */
const longestMs = 7 * 24 * hourMs;

/**
 * Snapshots: a subscription's cursor and what was settled ahead of it, at one moment. Messages behind the cursor of a snapshot
 * stay in the log.
 */
export class Snapshots {
  readonly #database: Database;
  readonly #log: Log;
  readonly #now: () => number;

  static readonly schema = `CREATE TABLE snapshot (
       id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, topic INTEGER NOT NULL, cursor INTEGER NOT NULL,
       expires_at INTEGER NOT NULL, config TEXT NOT NULL
     ) STRICT;
     CREATE TABLE snapshot_settled (snapshot INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (snapshot, position)) STRICT, WITHOUT ROWID;`;

  constructor(database: Database, log: Log, now: () => number) {
    this.#database = database;
    this.#log = log;
    this.#now = now;
  }

  all(): Snapshot[] {
    const rows = this.#database
      .prepare('SELECT config, expires_at FROM snapshot WHERE expires_at > ?')
      .all(this.#now());
    return rows.map((row) => snapshotOf(row));
  }

  /** @throws BrokerError NOT_FOUND */
  get(name: string): Snapshot {
    return snapshotOf(this.#row(name));
  }

  /** @throws BrokerError ALREADY_EXISTS; FAILED_PRECONDITION where it would not last an hour */
  create(name: string, subscription: SubscriptionState, labels: Snapshot['labels']): Promise<Snapshot> {
    return this.#database.write(() => {
      if (this.#database.prepare('SELECT 1 FROM snapshot WHERE name = ?').get(name)) {
        throw alreadyExists('snapshot', name);
      }
      subscription.flush(true);
      const now = this.#now();
      const expiresAt = Math.min(subscription.firstUnsettledAt() ?? now, now) + longestMs;
      if (expiresAt - now < hourMs) {
        throw new BrokerError(
          'FAILED_PRECONDITION',
          `snapshot "${name}" would expire within the hour: it lasts 7 days less the age of the oldest unacked message of "${subscription.config.name}"; ack or seek past that first`,
        );
      }
      const snapshot: Snapshot = {
        name,
        topic: subscription.config.topic,
        expireTime: new Date(expiresAt).toISOString(),
        ...(labels && { labels }),
      };
      const { lastInsertRowid } = this.#database
        .prepare(
          'INSERT INTO snapshot (name, topic, cursor, expires_at, config) SELECT ?, topic, cursor, ?, ? FROM subscription WHERE id = ?',
        )
        .run(name, expiresAt, JSON.stringify(snapshot), subscription.id);
      this.#database
        .prepare(
          'INSERT INTO snapshot_settled SELECT ?, position FROM exception WHERE subscription = ? AND due_at IS NULL',
        )
        .run(lastInsertRowid, subscription.id);
      return snapshot;
    });
  }

  /** Labels and expiry may change. */
  update(name: string, change: (snapshot: Snapshot) => Snapshot): Promise<Snapshot> {
    return this.#database.write(() => {
      const changed = change(this.get(name));
      this.#database
        .prepare('UPDATE snapshot SET config = ?, expires_at = ? WHERE name = ?')
        .run(JSON.stringify(changed), Date.parse(changed.expireTime), name);
      return changed;
    });
  }

  delete(name: string): Promise<void> {
    return this.#database.write(() => this.#remove(this.#row(name).id as number));
  }

  /** Only inside a write. Answers how many went. */
  removeExpired(): number {
    const rows = this.#database.prepare('SELECT id FROM snapshot WHERE expires_at <= ?').all(this.#now());
    for (const { id } of rows) this.#remove(id as number);
    return rows.length;
  }

  /** By the id of a topic: what is at or before it no snapshot needs. */
  lowestCursors(): ReadonlyMap<number, number> {
    const rows = this.#database
      .prepare('SELECT topic, min(cursor) AS cursor FROM snapshot WHERE expires_at > ? GROUP BY topic')
      .all(this.#now());
    return new Map(rows.map(({ topic, cursor }) => [topic as number, cursor as number]));
  }

  /** Only inside a write: a subscription of the same topic is as the snapshot's was. @throws BrokerError */
  seek(name: string, subscription: SubscriptionState, now: number): void {
    const { id, topic, cursor } = this.#row(name);
    if (topic !== subscription.topicId) {
      throw new BrokerError(
        'FAILED_PRECONDITION',
        `snapshot "${name}" is of another topic than "${subscription.config.name}"; only a snapshot of its own topic will do`,
      );
    }
    const settled = this.#database.prepare('SELECT position FROM snapshot_settled WHERE snapshot = ?').all(id!);
    const positions = settled.map(({ position }) => position as number).filter((position) => position <= this.#log.end);
    subscription.seek(cursor as number, positions, now);
  }

  #row(name: string): Record<string, number | string> {
    const row = this.#database
      .prepare('SELECT * FROM snapshot WHERE name = ? AND expires_at > ?')
      .get(name, this.#now());
    if (!row) throw notFound('snapshot', name);
    return row as Record<string, number | string>;
  }

  #remove(id: number): void {
    this.#database.prepare('DELETE FROM snapshot WHERE id = ?').run(id);
    this.#database.prepare('DELETE FROM snapshot_settled WHERE snapshot = ?').run(id);
  }
}

function snapshotOf({ config }: Record<string, unknown>): Snapshot {
  return JSON.parse(config as string);
}
