import type { Pool, PoolClient } from 'pg';
import { stops } from '../journey-client.ts';

/** A table for the documents of a round. Answers its name. */
export async function createJourneys(pool: Pool, name: string): Promise<string> {
  const table = name.replaceAll('-', '_');
  await pool.query(`CREATE TABLE ${table} (id TEXT PRIMARY KEY, journey JSONB NOT NULL)`);
  return table;
}

/** Changes the document of a journey, in one statement. */
export async function reach(
  client: Pool | PoolClient,
  table: string,
  id: string,
  stop: number,
  note: string,
): Promise<void> {
  await client.query(
    `INSERT INTO ${table} (id, journey) VALUES ($1, jsonb_build_object('stop', $2::int, 'notes', jsonb_build_object($3::text, $4::text)))
     ON CONFLICT (id) DO UPDATE SET journey =
       jsonb_set(jsonb_set(${table}.journey, ARRAY['notes', $3::text], to_jsonb($4::text)), '{stop}', to_jsonb($2::int))`,
    [id, stop, String(stop), note],
  );
}

export async function countArrived(pool: Pool, table: string): Promise<number> {
  const { rows } = await pool.query(`SELECT count(*) FROM ${table} WHERE (journey ->> 'stop')::int = ${stops}`);
  return Number(rows[0].count);
}
