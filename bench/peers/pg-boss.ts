import { type ConstructorOptions, PgBoss } from 'pg-boss';
import { inFlight } from '../in-flight.ts';
import { payload, type QueueAt } from '../queue-client.ts';

const batch = 100;
const inserting = 4;
const fetching = 4;

export const databaseAt = (port: number) => `postgres://bench@127.0.0.1:${port}/postgres`;

/** @param options unlike its own: it neither migrates nor looks after anything by itself */
export async function bossOf(port: number, options: ConstructorOptions = {}): Promise<PgBoss> {
  const connectionString = databaseAt(port);
  const boss = new PgBoss({ connectionString, migrate: false, supervise: false, schedule: false, ...options });
  boss.on('error', (error) => {
    throw error;
  });
  return boss.start();
}

export async function prepare({ port, name }: QueueAt): Promise<void> {
  const boss = await bossOf(port, { migrate: true });
  await boss.createQueue(name);
  await boss.stop();
}

export async function produce({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const boss = await bossOf(port);
  const jobs = Array.from({ length: batch }, () => ({ data: { text: payload.toString() } }));
  await ready();
  await inFlight(messages / batch, inserting, () => boss.insert(name, jobs));
}

export async function consume({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const boss = await bossOf(port);
  await ready();
  let completed = 0;
  const worker = async () => {
    while (completed < messages) {
      const jobs = await boss.fetch(name, { batchSize: batch });
      if (jobs.length === 0) continue;
      await boss.complete(
        name,
        jobs.map(({ id }) => id),
      );
      completed += jobs.length;
    }
  };
  await Promise.all(Array.from({ length: fetching }, worker));
}
