import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

const connection = new DatabaseSync(workerData as string);
connection.exec('PRAGMA synchronous = NORMAL; PRAGMA cache_size = -512;');
const checkpoint = connection.prepare('PRAGMA wal_checkpoint(PASSIVE)');

/**
 * What is written during one pass is for the next, which is shorter: so it catches up with who writes now and then. Only then does the log start over, in place;
 * a sync of a file that grows takes twice as long.
 */
const mostPasses = 4;

parentPort!.on('message', () => {
  let frames = -1;
  for (let pass = 0; pass < mostPasses; pass++) {
    const { log } = checkpoint.get() as { log: number };
    if (log === frames) break;
    frames = log;
  }
  parentPort!.postMessage(undefined);
});
