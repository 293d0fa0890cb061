import type { StoredMessage } from './log.ts';

/** The right to settle a message until a time. */
export interface Lease {
  readonly message: StoredMessage;
  /** Deliveries of this message on this subscription, this one included. */
  attempt: number;
  /** Deliveries in which whoever had it died. */
  readonly deaths: number;
  readonly lane: string;
  expiresAt: number;
  /** There may be a row of it. */
  hasRow: boolean;
  /** No other lease has it; undefined where the attempt tells them apart. */
  readonly serial?: number | undefined;
  /** What ends it is on its way to the disk. */
  ending?: 'acked' | 'nacked' | undefined;
  /** Set where the lease itself must be on disk before anyone sees the message. Rejects where the disk would not take it. */
  written?: Promise<void>;
  /** Acked, nacked, expired, released, or its subscription gone. */
  onEnd?: () => void;
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
  /** Several of one ordering key, in order, since they all go the same way. Default one, and the next when it is settled. */
  readonly runs?: boolean;
}

/** Of data, attributes and ordering key, as limits and flow control count. */
export function bytesOf({ data, attributes, orderingKey = '' }: StoredMessage): number {
  let bytes = Math.floor(data.length * 0.75) + Buffer.byteLength(orderingKey);
  for (const key in attributes) bytes += Buffer.byteLength(key) + Buffer.byteLength(attributes[key]!);
  return bytes;
}
