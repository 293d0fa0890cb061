import type { StatementSync } from 'node:sqlite';
import { Database } from '@dormouse/broker';

/** A table, and how its rows are put back. */
interface Kept {
  readonly insert: StatementSync;
  readonly rows: readonly (readonly never[])[];
}

/**
 * A database in memory that one run after the other uses, and every life of a host within a run: to open and provision one
 * and prepare its six hundred statements takes as long as a run. What a run leaves is deleted, down to the last number given.
 */
export class ReusedDatabase extends Database {
  readonly #statements = new Map<string, StatementSync>();
  #tables: readonly string[] = [];
  #kept: readonly Kept[] = [];

  constructor() {
    super(':memory:');
  }

  /** A statement of the same text is the same. */
  override prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = super.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  /** What is there now is what it goes back to. */
  keep(): void {
    const names = this.prepare(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_version'",
    ).all();
    this.#tables = names.map(({ name }) => name as string);
    this.#kept = this.#tables.flatMap((table) => {
      const rows = this.prepare(`SELECT * FROM ${table}`).all();
      if (rows.length === 0) return [];
      const columns = Object.keys(rows[0]!);
      const insert = this.prepare(
        `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
      );
      return [{ insert, rows: rows.map((row) => Object.values(row) as never[]) }];
    });
  }

  async reset(): Promise<void> {
    await this.write(() => {
      for (const table of this.#tables) this.prepare(`DELETE FROM ${table}`).run();
      for (const { insert, rows } of this.#kept) for (const row of rows) insert.run(...row);
    });
  }
}
