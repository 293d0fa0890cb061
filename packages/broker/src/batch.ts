import type { PubsubMessage, StoredMessage } from './log.ts';

type Attributes = PubsubMessage['attributes'];

/** A row of `batch`, as far as it was asked for. */
export interface BatchRow {
  readonly last: number;
  readonly count: number;
  readonly topic: number;
  readonly lane: string;
  /** Of its first message. */
  readonly id: string;
  readonly published_at: number;
  readonly ordering_key: string | null;
  /** JSON: an object that all have, or a list of them. */
  readonly attributes: string;
  /** JSON: of the data of each; null where there is one message. */
  readonly lengths: string | null;
  /** Of all, one after the other; null where it is much and was not asked for. */
  readonly data: Uint8Array | null;
}

/** Data of up to so many bytes is kept with what waits for its lease; larger is read then, so that memory holds none that waits. */
export const smallBytes = 4_096;
/** Of the data of a batch, unless it is one message: whoever wants one of it reads all. */
const mostBytes = 65_536;
/** Of an id, what counts the messages of a run of the broker. */
export const countedDigits = 9;

/**
 * Messages that were published together: of one topic, lane and ordering key, at one moment. The log has a row of each batch.
 *
 * Their positions follow each other, and so do their ids. A batch is kept by its last position: so `last > cursor` is all that a reader has not passed
 * as a whole, `last <= cursor` what may go, and the first `last >= position` the one that holds a position, if it begins before.
 */
export class Batch {
  readonly last: number;
  readonly count: number;
  readonly topicId: number;
  readonly lane: string;
  readonly publishedAt: number;
  readonly orderingKey: string | null;
  readonly #row: BatchRow;
  #attributes: Attributes | readonly Attributes[] | undefined;
  #data: Buffer | undefined;
  /** Where the data of each ends. */
  #ends: readonly number[] | undefined;

  constructor(row: BatchRow, attributes?: readonly Attributes[]) {
    this.last = row.last;
    this.count = row.count;
    this.topicId = row.topic;
    this.lane = row.lane;
    this.publishedAt = row.published_at;
    this.orderingKey = row.ordering_key;
    this.#row = row;
    this.#attributes = attributes;
  }

  get first(): number {
    return this.last - this.count + 1;
  }

  holds(position: number): boolean {
    return position <= this.last && position >= this.first;
  }

  idOf(position: number): string {
    const { id } = this.#row;
    const index = position - this.first;
    if (index === 0) return id;
    const number = Number(id.slice(-countedDigits)) + index;
    return id.slice(0, -countedDigits) + String(number).padStart(countedDigits, '0');
  }

  attributesOf(position: number): Attributes {
    this.#attributes ??= attributesOf(this.#row.attributes);
    return isList(this.#attributes) ? this.#attributes[position - this.first]! : this.#attributes;
  }

  /** A message that is small; undefined where it is not, or the data was not read. */
  small(position: number): StoredMessage | undefined {
    if (this.#row.data === null) return undefined;
    const [begin, end] = this.#boundsOf(position);
    return end - begin <= smallBytes ? this.message(position) : undefined;
  }

  message(position: number): StoredMessage {
    const { publishedAt, orderingKey } = this;
    const [begin, end] = this.#boundsOf(position);
    const { buffer, byteOffset, byteLength } = this.#row.data!;
    this.#data ??= Buffer.from(buffer, byteOffset, byteLength);
    const message = {
      position,
      messageId: this.idOf(position),
      publishTime: publishTimeOf(publishedAt),
      publishedAt,
      attributes: this.attributesOf(position),
      data: this.#data.toString('base64', begin, end),
    };
    return orderingKey === null ? message : { ...message, orderingKey };
  }

  #boundsOf(position: number): [begin: number, end: number] {
    const { lengths, data } = this.#row;
    if (lengths === null) return [0, data!.byteLength];
    this.#ends ??= endsOf(JSON.parse(lengths));
    const index = position - this.first;
    return [index === 0 ? 0 : this.#ends[index - 1]!, this.#ends[index]!];
  }
}

/** What is to be a row, and where in the list it ends. */
export interface Packed {
  readonly end: number;
  readonly attributes: string;
  readonly lengths: string | null;
  readonly data: Buffer;
}

/** As many of the messages, from the one of that index on, as one batch takes. */
export function pack(messages: readonly PubsubMessage[], from: number): Packed {
  let end = from;
  let room = 0;
  while (end < messages.length) {
    const bytes = Math.ceil(messages[end]!.data.length * 0.75);
    if (end > from && room + bytes > mostBytes) break;
    room += bytes;
    end++;
  }
  const data = Buffer.allocUnsafe(room);
  const lengths: number[] = [];
  let bytes = 0;
  for (let index = from; index < end; index++) {
    const length = data.write(messages[index]!.data, bytes, 'base64');
    lengths.push(length);
    bytes += length;
  }
  const isOne = end - from === 1;
  return {
    end,
    attributes: attributesText(messages, from, end),
    lengths: isOne ? null : JSON.stringify(lengths),
    data: data.subarray(0, bytes),
  };
}

/** As `Batch.attributesOf` reads it. */
function attributesText(messages: readonly PubsubMessage[], from: number, end: number): string {
  if (end - from === 1) return JSON.stringify(messages[from]!.attributes);
  const all = messages.slice(from, end).map(({ attributes }) => attributes);
  return all.every(isEmpty) ? '{}' : JSON.stringify(all);
}

function attributesOf(text: string): Attributes | readonly Attributes[] {
  return text === '{}' ? none : JSON.parse(text);
}

const none: Attributes = Object.freeze({});

function isEmpty(attributes: Attributes): boolean {
  for (const _key in attributes) return false;
  return true;
}

function isList(attributes: Attributes | readonly Attributes[]): attributes is readonly Attributes[] {
  return Array.isArray(attributes);
}

function endsOf(lengths: readonly number[]): number[] {
  let end = 0;
  return lengths.map((length) => (end += length));
}

/** Told once for all messages of a batch: to write a date costs more than to read its message. */
let last = { at: Number.NaN, text: '' };

function publishTimeOf(at: number): string {
  if (last.at !== at) last = { at, text: new Date(at).toISOString() };
  return last.text;
}
