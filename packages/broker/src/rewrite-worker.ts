import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';

/** Of waiting for whoever writes or reads. */
const timeoutMs = 30_000;
const busy = 5;

const connection = new DatabaseSync(workerData as string, { timeout: timeoutMs });
try {
  connection.exec('VACUUM');
  // What the log held of earlier pages goes with it.
  const { busy: held } = connection.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()!;
  if (held) throw Object.assign(new Error('the write-ahead log is being read'), { errcode: busy });
} finally {
  connection.close();
}
