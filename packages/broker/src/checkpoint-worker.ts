import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

const connection = new DatabaseSync(workerData as string);
connection.exec('PRAGMA synchronous = NORMAL; PRAGMA cache_size = -512;');
const checkpoint = connection.prepare('PRAGMA wal_checkpoint(PASSIVE)');

parentPort!.on('message', () => {
  checkpoint.get();
  parentPort!.postMessage(undefined);
});
