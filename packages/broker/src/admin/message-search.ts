import type { Database } from '../database.ts';
import { type MessageRow, messageOf, type StoredMessage } from '../log.ts';

interface Found {
  readonly position: number;
  readonly id: bigint;
}

/** Of an id, what all have in common that one run of a broker gave. */
const runOf = (id: bigint) => id / 1_000_000_000n;

export interface FoundMessage {
  readonly message: StoredMessage;
  readonly topicId: number;
}

/**
 * A message by its id, without an index that every publish would have to pay for. The ids of one run of the broker grow with
 * their positions, and its messages lie together: where both ends of a stretch are of one run, it is searched by halves, or not at
 * all. What is looked at grows with the number of restarts whose messages are kept, and with the logarithm of the messages.
 */
export function findMessage(database: Database, messageId: string): FoundMessage | undefined {
  if (!/^\d{1,30}$/.test(messageId)) return undefined;
  const wanted = BigInt(messageId);
  const from = database.prepare('SELECT position, id FROM message WHERE position >= ? ORDER BY position LIMIT 1');
  const upTo = database.prepare('SELECT position, id FROM message WHERE position <= ? ORDER BY position DESC LIMIT 1');
  const search = (first: Found | undefined, last: Found | undefined): number | undefined => {
    if (!first || !last || first.position > last.position) return undefined;
    if (first.id === wanted) return first.position;
    if (last.id === wanted) return last.position;
    const isOneRun = runOf(first.id) === runOf(last.id);
    if (isOneRun && (wanted < first.id || wanted > last.id)) return undefined;
    if (last.position - first.position < 2) return undefined;
    const middle = Math.floor((first.position + last.position) / 2);
    const below = found(upTo.get(middle));
    const above = found(from.get(middle + 1));
    if (isOneRun) return below && wanted <= below.id ? search(first, below) : search(above, last);
    return search(first, below) ?? search(above, last);
  };
  const position = search(found(from.get(0)), found(upTo.get(Number.MAX_SAFE_INTEGER)));
  if (position === undefined) return undefined;
  const row = database.prepare('SELECT * FROM message WHERE position = ?').get(position)!;
  return { message: messageOf(row as unknown as MessageRow), topicId: row.topic as number };
}

function found(row: Record<string, unknown> | undefined): Found | undefined {
  return row && { position: row.position as number, id: BigInt(row.id as string) };
}
