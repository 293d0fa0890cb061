import { fdatasyncSync, openSync } from 'node:fs';
import type { Database } from '@dormouse/broker';

/** `real`: the one the temporary folder is on. `slow`: one that takes 10 ms to sync, played by waiting. */
export type Disk = 'real' | 'slow';

export const slowSyncMs = 10;

/** A sync that holds up the thread that commits. */
export function blockingSync(databasePath: string, disk: Disk): () => Promise<void> {
  if (disk === 'slow') {
    const never = new Int32Array(new SharedArrayBuffer(4));
    return async () => void Atomics.wait(never, 0, 0, slowSyncMs);
  }
  let fd: number | undefined;
  return async () => {
    fd ??= openSync(`${databasePath}-wal`, 'r+');
    fdatasyncSync(fd);
  };
}

/** What each write does: one row of half a kilobyte. */
export function prepareWrite(database: Database): () => void {
  database.migrate('bench', ['CREATE TABLE row (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;']);
  const insert = database.prepare('INSERT INTO row (body) VALUES (?)');
  const body = 'x'.repeat(500);
  return () => void insert.run(body);
}
