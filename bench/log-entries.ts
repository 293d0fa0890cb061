import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { chainHash, firstHash } from '@dormouse/core';

type Row = Readonly<Record<string, string | number | null>>;

/** So many workflows are written to in turn, as those under way are. */
const underWay = 1_000;

export interface Grown {
  readonly ids: readonly string[];
  /** What the file grew by, an entry: the entry, its place in the index, and its chain's head. */
  readonly bytesAnEntry: number;
  /** Of that, what the entry says: its JSON. */
  readonly jsonBytesAnEntry: number;
}

/**
 * Writes copies of the log of one workflow into the tables of a closed database, each under an id of its own and with a chain that
 * holds, until it has so many entries. All that are under way take turns, so neither log nor index is in the order of workflows.
 */
export function growLog(file: string, workflow: string, count: number, progress: (text: string) => void): Grown {
  const before = statSync(file).size;
  const database = new DatabaseSync(file);
  // One transaction, and the index in memory until its end: each commit would write most of its pages again.
  database.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1500000');
  const entries = database
    .prepare('SELECT * FROM entry WHERE workflow = ? ORDER BY position')
    .all(workflow) as unknown as Row[];
  const putEntry = database.prepare(
    'INSERT INTO entry (workflow, chain, seq, hash, at, body) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const putHead = database.prepare('INSERT INTO head (chain, seq, hash) VALUES (?, ?, ?)');
  const id = workflow.slice(workflow.indexOf('/') + 1);
  const ids: string[] = [];
  let [written, jsonBytes] = [0, 0];
  database.exec('BEGIN');
  while (written < count) {
    const group = Array.from({ length: underWay }, (_, n) => `${id}-${scattered(ids.length + n)}`);
    const hashes = new Map<string, string>();
    for (const { seq, at, body } of entries) {
      for (const copy of group) {
        const chain = `workflows/${copy}`;
        const text = (body as string).replaceAll(id, copy);
        const hash = chainHash(hashes.get(copy) ?? firstHash, seq as number, at as number, text);
        hashes.set(copy, hash);
        putEntry.run(chain, chain, seq!, hash, at!, text);
        jsonBytes += Buffer.byteLength(text);
        if (++written % 1_000_000 === 0) progress(`${written / 1e6} M of ${count / 1e6} M entries written`);
      }
    }
    for (const copy of group) putHead.run(`workflows/${copy}`, entries.length, hashes.get(copy)!);
    ids.push(...group);
  }
  database.exec('COMMIT');
  database.close();
  return { ids, bytesAnEntry: (statSync(file).size - before) / written, jsonBytesAnEntry: jsonBytes / written };
}

/** Ids are random: what comes next in time is not what comes next in the index. */
function scattered(n: number): string {
  return (Math.imul(n + 1, 0x9e3779b1) >>> 0).toString(36).padStart(7, '0');
}
