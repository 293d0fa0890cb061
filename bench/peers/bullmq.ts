import { Queue, Worker } from 'bullmq';
import { inFlight } from '../in-flight.ts';
import { payload, type QueueAt } from '../queue-client.ts';

const batch = 100;
const adding = 4;
const working = 100;

export async function prepare(): Promise<void> {}

export async function produce({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const client = new Queue(name, { connection: { port } });
  await client.waitUntilReady();
  const data = { text: payload.toString() };
  const jobs = Array.from({ length: batch }, () => ({ name: 'job', data, opts: { removeOnComplete: true } }));
  await ready();
  await inFlight(messages / batch, adding, () => client.addBulk(jobs));
}

export async function consume({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const worker = new Worker(name, async () => {}, { connection: { port }, concurrency: working });
  let done = 0;
  const all = Promise.withResolvers<void>();
  worker.on('completed', () => {
    if (++done === messages) all.resolve();
  });
  await worker.waitUntilReady();
  await ready();
  await all.promise;
}
