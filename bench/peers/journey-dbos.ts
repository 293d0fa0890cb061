import { DBOS } from '@dbos-inc/dbos-sdk';
import { Pool } from 'pg';
import { type Engine, type EngineAt, note, stops } from '../journey-client.ts';
import { countArrived, createJourneys, reach } from './journey-table.ts';

const connections = 20;

/** A journey is a workflow, each stop a step of it, recorded in PostgreSQL; beside it is the journey's own row. */
export const dbos = {
  async open({ port, name }: EngineAt): Promise<Engine> {
    const pool = new Pool({ connectionString: `postgres://bench@127.0.0.1:${port}/postgres`, max: connections });
    const table = await createJourneys(pool, name);
    const journey = DBOS.registerWorkflow(
      async (id: string, note: string): Promise<void> => {
        for (let stop = 1; stop <= stops; stop++) {
          await DBOS.runStep(() => reach(pool, table, id, stop, note), { name: `stop ${stop}` });
        }
      },
      { name: 'journey' },
    );
    DBOS.setConfig({
      name: 'bench',
      systemDatabaseUrl: `postgres://bench@127.0.0.1:${port}/${table}_dbos`,
      systemDatabasePoolSize: connections,
      logLevel: 'error',
    });
    await DBOS.launch();
    return {
      async travel(id) {
        const handle = await DBOS.startWorkflow(journey, { workflowID: id })(id, note);
        await handle.getResult();
      },
      async close(ids) {
        const arrived = await countArrived(pool, table);
        await DBOS.shutdown();
        await pool.end();
        if (arrived !== ids.length) throw new Error(`${arrived} of ${ids.length} journeys have come to their end`);
      },
    };
  },
};
