import { Batch, type BatchRow } from '../batch.ts';
import type { Database } from '../database.ts';
import type { StoredMessage } from '../log.ts';

interface Found {
  readonly last: number;
  readonly firstId: bigint;
  readonly lastId: bigint;
}

/** Of an id, what all have in common that one run of a broker gave. */
const runOf = (id: bigint) => id / 1_000_000_000n;

export interface FoundMessage {
  readonly message: StoredMessage;
  readonly topicId: number;
}

/**
 * A message by its id, without an index that every publish would have to pay for. The ids of one run of the broker grow with
 * their positions, and its batches lie together: where both ends of a stretch are of one run, it is searched by halves, or not at
 * all. What is looked at grows with the number of restarts whose messages are kept, and with the logarithm of the batches.
 */
export function findMessage(database: Database, messageId: string): FoundMessage | undefined {
  if (!/^\d{1,30}$/.test(messageId)) return undefined;
  const wanted = BigInt(messageId);
  const columns = 'last, count, id, NULL AS lengths, NULL AS data';
  const from = database.prepare(`SELECT ${columns} FROM batch WHERE last >= ? ORDER BY last LIMIT 1`);
  const upTo = database.prepare(`SELECT ${columns} FROM batch WHERE last <= ? ORDER BY last DESC LIMIT 1`);
  const search = (first: Found | undefined, last: Found | undefined): number | undefined => {
    if (!first || !last || first.last > last.last) return undefined;
    for (const { firstId, lastId, last: position } of [first, last]) {
      if (wanted >= firstId && wanted <= lastId) return position - Number(lastId - wanted);
    }
    const isOneRun = runOf(first.firstId) === runOf(last.lastId);
    if (isOneRun && (wanted < first.firstId || wanted > last.lastId)) return undefined;
    if (last.last - first.last < 2) return undefined;
    const middle = Math.floor((first.last + last.last) / 2);
    const below = found(upTo.get(middle));
    const above = found(from.get(middle + 1));
    if (isOneRun) return below && wanted <= below.lastId ? search(first, below) : search(above, last);
    return search(first, below) ?? search(above, last);
  };
  const position = search(found(from.get(0)), found(upTo.get(Number.MAX_SAFE_INTEGER)));
  if (position === undefined) return undefined;
  const batch = new Batch(
    database.prepare('SELECT * FROM batch WHERE last >= ? ORDER BY last LIMIT 1').get(position) as unknown as BatchRow,
  );
  return { message: batch.message(position), topicId: batch.topicId };
}

function found(row: Record<string, unknown> | undefined): Found | undefined {
  if (!row) return undefined;
  const batch = new Batch(row as unknown as BatchRow);
  const { first, last } = batch;
  return { last, firstId: BigInt(batch.idOf(first)), lastId: BigInt(batch.idOf(last)) };
}
