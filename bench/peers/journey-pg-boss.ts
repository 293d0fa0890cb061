import { Pool } from 'pg';
import { Arrivals } from '../arrivals.ts';
import { type Engine, type EngineAt, note, stops } from '../journey-client.ts';
import { countArrived, createJourneys, reach } from './journey-table.ts';
import { bossOf, databaseAt, prepare } from './pg-boss.ts';

const connections = 20;
const workers = 8;
const batch = 20;

interface Stop {
  readonly id: string;
  readonly stop: number;
  readonly note: string;
}

/** A stop is a job. Its handler changes the journey's row and sends the next job in one transaction. */
export const pgBoss = {
  async open({ port, name }: EngineAt): Promise<Engine> {
    await prepare({ port, name });
    const pool = new Pool({ connectionString: databaseAt(port), max: connections });
    const boss = await bossOf(port, { max: connections });
    const table = await createJourneys(pool, name);
    const arrivals = new Arrivals();

    const handle = async ({ id, stop, note }: Stop) => {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await reach(client, table, id, stop, note);
        if (stop < stops) {
          const db = { executeSql: (text: string, values?: unknown[]) => client.query(text, values) };
          await boss.send(name, { id, stop: stop + 1, note }, { db });
        }
        await client.query('COMMIT');
      } finally {
        client.release();
      }
    };
    let open = true;
    // `work` polls twice a second at the most: whoever wants more fetches.
    const working = Array.from({ length: workers }, async () => {
      while (open) {
        const jobs = await boss.fetch<Stop>(name, { batchSize: batch });
        if (jobs.length === 0) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          continue;
        }
        await Promise.all(jobs.map(({ data }) => handle(data)));
        await boss.complete(
          name,
          jobs.map(({ id }) => id),
        );
        for (const { data } of jobs) if (data.stop === stops) arrivals.arrive(data.id);
      }
    });
    return {
      travel: (id) => arrivals.of(id, () => boss.send(name, { id, stop: 1, note })),
      async close(ids) {
        open = false;
        await Promise.all(working);
        const count = await countArrived(pool, table);
        await boss.stop();
        await pool.end();
        if (count !== ids.length) throw new Error(`${count} of ${ids.length} journeys have come to their end`);
      },
    };
  },
};
