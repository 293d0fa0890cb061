import { Queue, Worker } from 'bullmq';
import { Arrivals } from '../arrivals.ts';
import { type Engine, type EngineAt, note, stops } from '../journey-client.ts';

const working = 100;

/** A stop is a job that adds the next. No state. */
export const bullmq = {
  async open({ port, name }: EngineAt): Promise<Engine> {
    const queue = new Queue(name, { connection: { port }, defaultJobOptions: { removeOnComplete: true } });
    const arrivals = new Arrivals();
    const worker = new Worker(
      name,
      async ({ data: { id, stop, note } }) => {
        if (stop < stops) await queue.add('stop', { id, stop: stop + 1, note });
      },
      { connection: { port }, concurrency: working },
    );
    worker.on('completed', ({ data: { id, stop } }) => {
      if (stop === stops) arrivals.arrive(id);
    });
    await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
    return {
      travel: (id) => arrivals.of(id, () => queue.add('stop', { id, stop: 1, note })),
      async close() {
        await worker.close();
        await queue.close();
      },
    };
  },
};
