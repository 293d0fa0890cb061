// SQLite on a thread of its own: takes writes in batches and answers, batch by batch, how many became durable.
import { parentPort, workerData } from 'node:worker_threads';
import { Database } from '@dormouse/broker';
import { blockingSync, prepareWrite } from './disk.ts';

const { path, disk } = workerData;
const database = new Database(path, { sync: blockingSync(path, disk) });
const work = prepareWrite(database);

parentPort!.on('message', async (count: number) => {
  await Promise.all(Array.from({ length: count }, () => database.write(work)));
  parentPort!.postMessage(count);
});
parentPort!.postMessage(0);
