// Real: SQLite, which tells how it would go about each statement.
import { Database } from '@dormouse/broker';
import { systemClock } from '@dormouse/core';
import { expect, onTestFinished, test } from 'vitest';
import { SqliteStateStore } from './state-store.ts';

class ToldDatabase extends Database {
  readonly statements: string[] = [];

  override prepare(sql: string): ReturnType<Database['prepare']> {
    this.statements.push(sql);
    return super.prepare(sql);
  }

  plan(sql: string): string[] {
    return super
      .prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .all()
      .map(({ detail }) => String(detail));
  }
}

test('a page of a listing is found by an index, a tenant’s among its own documents only', () => {
  const database = new ToldDatabase(':memory:');
  onTestFinished(() => database.close());
  database.statements.length = 0;
  const options = { database, declares: () => false, system: 'test', audit: false, now: systemClock.now };
  new SqliteStateStore(options);
  const plans = database.statements
    .filter((sql) => /FROM document WHERE listed_in/.test(sql))
    .map((sql) => database.plan(sql));
  expect(plans.map(([, look]) => look)).toEqual([
    expect.stringContaining('COVERING INDEX document_by_collection (listed_in=? AND '),
    expect.stringContaining('COVERING INDEX document_by_tenant (listed_in=? AND tenant=? AND '),
  ]);
});
