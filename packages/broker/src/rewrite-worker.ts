import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

/** Of waiting for whoever writes or reads. */
const timeoutMs = 30_000;
const pauseMs = 20;
const busy = 5;

const connection = new DatabaseSync(workerData as string, { timeout: timeoutMs });
try {
  connection.exec('VACUUM');
  // What the log held of earlier pages goes with it. Another checkpoint under way is not waited for by SQLite.
  const truncate = connection.prepare('PRAGMA wal_checkpoint(TRUNCATE)');
  const until = performance.now() + timeoutMs;
  while (truncate.get()!.busy) {
    if (performance.now() > until) {
      throw Object.assign(new Error('the write-ahead log is being read'), { errcode: busy });
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
  }
} finally {
  connection.close();
}
