import { randomBytes } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { Batch, type BatchRow, countedDigits, pack } from './batch.ts';
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
  /** Epoch milliseconds: the same. */
  readonly publishedAt: number;
}

/** Batches that were read for one of their messages, and may be wanted for the next: about 1 MB. */
const mostRecent = 16;

/**
 * The append-only log of all topics: a row for what was published together, whatever the number of subscriptions.
 * A position is never used twice, and grows with every message, across restarts.
 */
export class Log {
  readonly #append: StatementSync;
  readonly #holding: StatementSync;
  readonly #from: StatementSync;
  readonly #topicIds: StatementSync;
  readonly #lanes: StatementSync;
  readonly #upTo: StatementSync;
  readonly #remove: StatementSync;
  readonly #idPrefix = BigInt(`0x${randomBytes(5).toString('hex')}`).toString();
  /** Of the last message, durable or not. */
  #last: number;
  #recent: Batch[] = [];

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
    'CREATE INDEX message_by_key ON message (topic, ordering_key, position) WHERE ordering_key IS NOT NULL;',
    // What was there is a batch of one, as it is. With the count in the indexes a scan does not go through data for it.
    `DROP INDEX message_by_lane;
     DROP INDEX message_by_key;
     ALTER TABLE message RENAME TO batch;
     ALTER TABLE batch RENAME COLUMN position TO last;
     ALTER TABLE batch ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
     ALTER TABLE batch ADD COLUMN lengths TEXT;
     CREATE INDEX batch_by_lane ON batch (topic, lane, last, count);
     CREATE INDEX batch_by_key ON batch (topic, ordering_key, last, count) WHERE ordering_key IS NOT NULL;`,
  ];

  constructor(database: Database) {
    this.#append = database.prepare(
      'INSERT INTO batch (last, count, topic, lane, id, published_at, ordering_key, attributes, lengths, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    );
    this.#holding = database.prepare('SELECT * FROM batch WHERE last >= ? ORDER BY last LIMIT 1');
    this.#from = database.prepare(
      'SELECT last, count, published_at AS at FROM batch WHERE last >= ? ORDER BY last LIMIT 1',
    );
    this.#topicIds = database.prepare(
      `WITH RECURSIVE topics (topic) AS (
         SELECT min(topic) FROM batch
         UNION ALL SELECT (SELECT min(topic) FROM batch WHERE batch.topic > topics.topic) FROM topics WHERE topic IS NOT NULL
       ) SELECT topic FROM topics WHERE topic IS NOT NULL`,
    );
    this.#lanes = database.prepare(`${lanesOf('$topic')} SELECT lane FROM lanes WHERE lane IS NOT NULL`);
    this.#upTo = database.prepare(
      'SELECT last, count FROM batch WHERE topic = ? AND lane = ? AND last <= ? ORDER BY last',
    );
    this.#remove = database.prepare('DELETE FROM batch WHERE topic = ? AND lane = ? AND last <= ?');
    const last = database.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'batch'").get();
    this.#last = (last?.seq as number | undefined) ?? 0;
    this.end = this.#last;
  }

  /** Position of the last durable message: what may be delivered. Moved by the broker, after each sync. */
  end: number;

  #count = 0;

  /** Only inside a write of the database. All of one ordering key. @param lane takes turns with the topic's other lanes */
  append(topic: number, lane: string, messages: readonly PubsubMessage[], now: number): Batch[] {
    const batches: Batch[] = [];
    for (let from = 0; from < messages.length; ) {
      const { end, attributes, lengths, data } = pack(messages, from);
      const count = end - from;
      const id = this.newId();
      this.#count += count - 1;
      // One that is undone leaves a gap, which nobody minds.
      this.#last += count;
      const last = this.#last;
      const key = messages[from]!.orderingKey ?? null;
      this.#append.run(last, count, topic, lane, id, now, key, attributes, lengths, data);
      const row = { last, count, topic, lane, id, published_at: now, ordering_key: key, attributes, lengths, data };
      batches.push(
        new Batch(
          row,
          messages.slice(from, end).map((each) => each.attributes),
        ),
      );
      from = end;
    }
    return batches;
  }

  /** Opaque, decimal like Google's, and different after every restart. */
  newId(): string {
    return this.#idPrefix + String(++this.#count).padStart(countedDigits, '0');
  }

  /** The topics that have messages, also those that were deleted. */
  topicIds(): number[] {
    return this.#topicIds.all().map(({ topic }) => topic as number);
  }

  /** The last position of what was published before a time. Times grow with positions, but for a clock that was set. */
  lastBefore(time: number): number {
    let [low, high] = [0, this.end];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const row = this.#from.get(middle) as { last: number; count: number; at: number } | undefined;
      // Nothing is there any more, or what is next is too late.
      if (!row || row.last > high || row.at >= time)
        high = Math.min(middle, row ? row.last - row.count + 1 : middle) - 1;
      else low = row.last;
    }
    return low;
  }

  /**
   * Only inside a write: removes the oldest of a topic up to a position, so many and the others of their batch. A batch goes as a whole, or not
   * yet. Answers how many went.
   */
  prune(topic: number, last: number, most: number): number {
    let removed = 0;
    for (const { lane } of this.#lanes.all({ topic })) {
      let upTo = 0;
      for (const batch of this.#upTo.iterate(topic, lane!, last)) {
        if (removed >= most) break;
        upTo = batch.last as number;
        removed += batch.count as number;
      }
      if (upTo > 0) this.#remove.run(topic, lane!, upTo);
    }
    if (removed > 0) this.#recent = this.#recent.filter((batch) => batch.topicId !== topic || batch.last > last);
    return removed;
  }

  read(position: number): StoredMessage | undefined {
    return this.batch(position)?.message(position);
  }

  /** The batch that holds a position; undefined where it is not there any more. */
  batch(position: number): Batch | undefined {
    const recent = this.#recent.find((batch) => batch.holds(position));
    if (recent) return recent;
    const row = this.#holding.get(position) as unknown as BatchRow | undefined;
    const batch = row && new Batch(row);
    if (!batch?.holds(position)) return undefined;
    if (batch.count > 1) {
      this.#recent.unshift(batch);
      this.#recent.length = Math.min(this.#recent.length, mostRecent);
    }
    return batch;
  }
}

/** All messages in the log of a database and the ids of their topics, in order. For who looks at it from outside, while a broker runs on it or not. */
export function* messagesIn(
  database: Pick<DatabaseSync, 'prepare'>,
): Generator<{ readonly topicId: number; readonly message: StoredMessage }> {
  for (const row of database.prepare('SELECT * FROM batch ORDER BY last').iterate()) {
    const batch = new Batch(row as unknown as BatchRow);
    for (let position = batch.first; position <= batch.last; position++) {
      yield { topicId: batch.topicId, message: batch.message(position) };
    }
  }
}

/** SQL: begins a statement with the table `lanes` of a topic, one step in the index from lane to lane, whatever their length. The last is null. */
export function lanesOf(topic: string | number): string {
  return `WITH RECURSIVE lanes (lane) AS (
    SELECT min(lane) FROM batch WHERE topic = ${topic}
    UNION ALL
    SELECT (SELECT min(lane) FROM batch WHERE topic = ${topic} AND batch.lane > lanes.lane) FROM lanes WHERE lane IS NOT NULL
  )`;
}

/** SQL: what joins `batch`, as the one that holds a position. What was removed is held by none. */
export function holding(position: string): string {
  return `batch.last = (SELECT min(last) FROM batch WHERE last >= ${position}) AND batch.last - batch.count < ${position}`;
}
