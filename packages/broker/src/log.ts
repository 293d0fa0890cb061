import { randomBytes } from 'node:crypto';
import type { StatementSync } from 'node:sqlite';
import type { Database } from './database.ts';

export interface PubsubMessage {
  /** Base64. */
  readonly data: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly orderingKey?: string;
}

export interface StoredMessage extends PubsubMessage {
  readonly position: number;
  readonly messageId: string;
  readonly publishTime: string;
}

/**
 * The append-only log of all topics: one row a message, whatever the number of subscriptions.
 * A position is never used twice, and grows with every append, across restarts.
 */
export class Log {
  readonly #append: StatementSync;
  readonly #message: StatementSync;
  readonly #oldest: StatementSync;
  readonly #settledUpTo: StatementSync;
  readonly #remove: StatementSync;
  readonly #idPrefix = BigInt(`0x${randomBytes(5).toString('hex')}`);

  static readonly schema = [
    `CREATE TABLE message (
       position INTEGER PRIMARY KEY AUTOINCREMENT,
       topic INTEGER NOT NULL,
       id TEXT NOT NULL,
       published_at INTEGER NOT NULL,
       ordering_key TEXT,
       attributes TEXT NOT NULL,
       data BLOB NOT NULL
     ) STRICT;
     CREATE INDEX message_by_topic ON message (topic, position);`,
    `ALTER TABLE message ADD COLUMN lane TEXT NOT NULL DEFAULT '';
     DROP INDEX message_by_topic;
     CREATE INDEX message_by_lane ON message (topic, lane, position);`,
  ];

  constructor(database: Database) {
    this.#append = database.prepare(
      'INSERT INTO message (topic, lane, id, published_at, ordering_key, attributes, data) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    this.#message = database.prepare('SELECT * FROM message WHERE position = ?');
    this.#oldest = database.prepare(
      'SELECT position, topic, published_at AS at FROM message WHERE position > ? ORDER BY position LIMIT ?',
    );
    this.#settledUpTo = database.prepare('SELECT topic, min(cursor) AS position FROM subscription GROUP BY topic');
    this.#remove = database.prepare('DELETE FROM message WHERE position = ?');
    const last = database.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'message'").get();
    this.end = (last?.seq as number | undefined) ?? 0;
  }

  /** Position of the last durable message: what may be delivered. Moved by the broker, after each sync. */
  end: number;

  #count = 0;

  /** Only inside a write of the database. @param lane takes turns with the topic's other lanes */
  append(
    topic: number,
    lane: string,
    message: PubsubMessage,
    now: number,
  ): { readonly position: number; readonly messageId: string } {
    // Opaque, decimal like Google's, and different after every restart.
    const messageId = String(this.#idPrefix * 1_000_000_000n + BigInt(++this.#count));
    const { lastInsertRowid } = this.#append.run(
      topic,
      lane,
      messageId,
      now,
      message.orderingKey ?? null,
      JSON.stringify(message.attributes),
      Buffer.from(message.data, 'base64'),
    );
    return { position: Number(lastInsertRowid), messageId };
  }

  /** Only inside a write. */
  prune(after: number, publishedBefore: number, looks: number): { removed: number; next: number | undefined } {
    const rows = this.#oldest.all(after, looks) as unknown as { position: number; topic: number; at: number }[];
    const settled = new Map(
      this.#settledUpTo.all().map(({ topic, position }) => [topic as number, position as number]),
    );
    let removed = 0;
    for (const { position, topic, at } of rows) {
      // Positions grow with time, but for a clock that was set: what is left behind goes the next time.
      if (at >= publishedBefore) return { removed, next: undefined };
      if (position > (settled.get(topic) ?? Number.POSITIVE_INFINITY)) continue;
      this.#remove.run(position);
      removed++;
    }
    return { removed, next: rows.length < looks ? undefined : rows.at(-1)!.position };
  }

  read(position: number): StoredMessage | undefined {
    const row = this.#message.get(position);
    if (!row) return undefined;
    return {
      position,
      messageId: row.id as string,
      publishTime: new Date(row.published_at as number).toISOString(),
      attributes: JSON.parse(row.attributes as string),
      data: Buffer.from(row.data as Uint8Array).toString('base64'),
      ...(row.ordering_key !== null && { orderingKey: row.ordering_key as string }),
    };
  }
}
