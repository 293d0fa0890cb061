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
  /** Epoch milliseconds: the same. */
  readonly publishedAt: number;
}

/**
 * The append-only log of all topics: one row a message, whatever the number of subscriptions.
 * A position is never used twice, and grows with every append, across restarts.
 */
export class Log {
  readonly #append: StatementSync;
  readonly #message: StatementSync;
  readonly #from: StatementSync;
  readonly #topicIds: StatementSync;
  readonly #lanes: StatementSync;
  readonly #remove: StatementSync;
  readonly #idPrefix = BigInt(`0x${randomBytes(5).toString('hex')}`).toString();

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
  ];

  constructor(database: Database) {
    this.#append = database.prepare(
      'INSERT INTO message (topic, lane, id, published_at, ordering_key, attributes, data) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    this.#message = database.prepare('SELECT * FROM message WHERE position = ?');
    this.#from = database.prepare(
      'SELECT position, published_at AS at FROM message WHERE position >= ? ORDER BY position LIMIT 1',
    );
    this.#topicIds = database.prepare(
      `WITH RECURSIVE topics (topic) AS (
         SELECT min(topic) FROM message
         UNION ALL SELECT (SELECT min(topic) FROM message WHERE message.topic > topics.topic) FROM topics WHERE topic IS NOT NULL
       ) SELECT topic FROM topics WHERE topic IS NOT NULL`,
    );
    this.#lanes = database.prepare(`${lanesOf('$topic')} SELECT lane FROM lanes WHERE lane IS NOT NULL`);
    this.#remove = database.prepare(
      `DELETE FROM message WHERE position IN
       (SELECT position FROM message WHERE topic = ? AND lane = ? AND position <= ? ORDER BY position LIMIT ?)`,
    );
    const last = database.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'message'").get();
    this.end = (last?.seq as number | undefined) ?? 0;
  }

  /** Position of the last durable message: what may be delivered. Moved by the broker, after each sync. */
  end: number;

  #count = 0;

  /** Only inside a write of the database. @param lane takes turns with the topic's other lanes */
  append(topic: number, lane: string, message: PubsubMessage, now: number): Appended {
    const messageId = this.newId();
    const data = Buffer.from(message.data, 'base64');
    const { lastInsertRowid } = this.#append.run(
      topic,
      lane,
      messageId,
      now,
      message.orderingKey ?? null,
      JSON.stringify(message.attributes),
      data,
    );
    return new Appended(Number(lastInsertRowid), messageId, now, message, data);
  }

  /** Opaque, decimal like Google's, and different after every restart. */
  newId(): string {
    return this.#idPrefix + String(++this.#count).padStart(9, '0');
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
      const row = this.#from.get(middle);
      // Nothing is there any more, or what is next is too late.
      if (!row || (row.position as number) > high || (row.at as number) >= time) high = middle - 1;
      else low = row.position as number;
    }
    return low;
  }

  /** Only inside a write: removes the oldest of a topic up to a position, so many at most. Answers how many went. */
  prune(topic: number, last: number, most: number): number {
    let removed = 0;
    for (const { lane } of this.#lanes.all({ topic })) {
      if (removed >= most) break;
      removed += Number(this.#remove.run(topic, lane!, last, most - removed).changes);
    }
    return removed;
  }

  read(position: number): StoredMessage | undefined {
    const row = this.#message.get(position);
    return row && messageOf(row as unknown as MessageRow);
  }
}

/** Data of up to so many bytes is kept with what waits for its lease; larger is read then, so that memory holds none that waits. */
export const smallBytes = 4_096;

/** A message that was just appended. */
export class Appended {
  readonly position: number;
  readonly messageId: string;
  readonly publishedAt: number;
  readonly attributes: PubsubMessage['attributes'];
  readonly orderingKey: string | undefined;
  readonly #data: Buffer;
  #small: StoredMessage | undefined;

  constructor(position: number, messageId: string, publishedAt: number, message: PubsubMessage, data: Buffer) {
    this.position = position;
    this.messageId = messageId;
    this.publishedAt = publishedAt;
    this.attributes = message.attributes;
    this.orderingKey = message.orderingKey;
    this.#data = data;
  }

  /** As a read of the log gives it, where it is small. */
  get small(): StoredMessage | undefined {
    if (this.#data.byteLength > smallBytes) return undefined;
    const { position, messageId, publishedAt, orderingKey = null, attributes } = this;
    this.#small ??= storedMessage(position, messageId, publishedAt, orderingKey, attributes, this.#data);
    return this.#small;
  }
}

/** A row of `message`, with its data. */
export interface MessageRow {
  readonly position: number;
  readonly id: string;
  readonly published_at: number;
  readonly ordering_key: string | null;
  readonly attributes: string;
  readonly data: Uint8Array;
}

export function messageOf({ position, id, published_at, ordering_key, attributes, data }: MessageRow): StoredMessage {
  return storedMessage(position, id, published_at, ordering_key, attributesOf(attributes), data);
}

export function storedMessage(
  position: number,
  messageId: string,
  publishedAt: number,
  orderingKey: string | null,
  attributes: PubsubMessage['attributes'],
  bytes: Uint8Array,
): StoredMessage {
  const publishTime = publishTimeOf(publishedAt);
  const data = bytes.toBase64();
  const message = { position, messageId, publishTime, publishedAt, attributes, data };
  return orderingKey === null ? message : { ...message, orderingKey };
}

/** Told once for all messages of a batch: to write a date costs more than to read its message. */
let last = { at: Number.NaN, text: '' };

function publishTimeOf(at: number): string {
  if (last.at !== at) last = { at, text: new Date(at).toISOString() };
  return last.text;
}

export function attributesOf(text: string): Readonly<Record<string, string>> {
  return text === '{}' ? none : JSON.parse(text);
}

const none = Object.freeze({});

/** SQL: begins a statement with the table `lanes` of a topic, one step in the index from lane to lane, whatever their length. The last is null. */
export function lanesOf(topic: string | number): string {
  return `WITH RECURSIVE lanes (lane) AS (
    SELECT min(lane) FROM message WHERE topic = ${topic}
    UNION ALL
    SELECT (SELECT min(lane) FROM message WHERE topic = ${topic} AND message.lane > lanes.lane) FROM lanes WHERE lane IS NOT NULL
  )`;
}
