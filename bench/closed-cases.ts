import { closeSync, fsyncSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { chainHash, firstHash } from '@dormouse/core';

type Row = Readonly<Record<string, string | number | null>>;

const casesAtATime = 1_000;

/**
 * Copies all that a closed case left in a database, so many times, each under an id of its own; the hash chains of the
 * copies hold. Not the messages: those of cases that are over a while have been pruned. Bytes a case is what the file grew by.
 */
export function multiply(file: string, id: string, count: number, progress: (text: string) => void): number {
  const database = new DatabaseSync(file);
  database.exec('PRAGMA wal_checkpoint(TRUNCATE); PRAGMA synchronous = OFF; PRAGMA cache_size = -200000');
  const size = () => (database.prepare('PRAGMA page_count').get()!.page_count as number) * 4096;
  const before = size();
  const rows = (table: string, order: string) =>
    database.prepare(`SELECT * FROM ${table} ORDER BY ${order}`).all() as unknown as Row[];
  const documents = rows('document', 'ref').filter(({ ref }) =>
    /^(workflows|inbox|activities|timers)\//.test(String(ref)),
  );
  const entries = rows('entry', 'position').filter(({ workflow }) => workflow === `workflows/${id}`);
  const heads = rows('head', 'chain').filter(({ chain }) => String(chain).includes(id));
  const insert = (table: string, row: Row) =>
    database.prepare(`INSERT INTO ${table} (${Object.keys(row)}) VALUES (${Object.keys(row).map((key) => `:${key}`)})`);
  const { position: _position, ...entry } = entries[0]!;
  const [putDocument, putEntry, putHead] = [
    insert('document', documents[0]!),
    insert('entry', entry),
    insert('head', heads[0]!),
  ];
  database.exec('BEGIN');
  for (let n = 0; n < count; n++) {
    const renamed = copyId(id, n);
    const copy = <T>(value: T): T => (typeof value === 'string' ? (value.replaceAll(id, renamed) as T) : value);
    for (const row of documents) {
      const copied = Object.fromEntries(Object.entries(row).map(([key, value]) => [key, copy(value)]));
      // The keys of inbox and activities are hashes, and name no case.
      if (copied.ref === row.ref) copied.ref = `${String(row.ref).slice(0, -6)}${n.toString(36).padStart(6, '0')}`;
      putDocument.run(copied as Row);
    }
    const hashes = new Map<string, string>();
    for (const row of entries) {
      const { position: _old, ...copied } = Object.fromEntries(
        Object.entries(row).map(([key, value]) => [key, copy(value)]),
      ) as Record<string, string | number | null>;
      if (copied.chain != null) {
        const chain = copied.chain as string;
        const hash = chainHash(
          hashes.get(chain) ?? firstHash,
          copied.seq as number,
          copied.at as number,
          copied.body as string,
        );
        hashes.set(chain, hash);
        copied.hash = hash;
      }
      putEntry.run(copied as Row);
    }
    for (const row of heads) {
      const chain = copy(String(row.chain));
      putHead.run({ ...row, chain, hash: hashes.get(chain)! });
    }
    if ((n + 1) % casesAtATime === 0) {
      database.exec('COMMIT; BEGIN');
      if ((n + 1) % (10 * casesAtATime) === 0) progress(`${n + 1} of ${count} cases copied`);
    }
  }
  database.exec('COMMIT');
  const grown = (size() - before) / count;
  database.close();
  // What the machine still has to write would be counted as the start's.
  const fd = openSync(file, 'r+');
  fsyncSync(fd);
  closeSync(fd);
  return grown;
}

/** `WF-20261122-86H06A` → `WF-20261122-000042`, in the alphabet of ids. */
function copyId(id: string, n: number): string {
  return id.slice(0, -6) + n.toString(36).toUpperCase().padStart(6, '0');
}
