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
export class ReusedDatabase {
  readonly database = new Database(':memory:', { keepsStatements: true });
  #tables: readonly string[] = [];
  #kept: readonly Kept[] = [];

  /** What is there now is what it goes back to. */
  keep(): void {
    const { database } = this;
    const names = database
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_version'")
      .all();
    this.#tables = names.map(({ name }) => name as string);
    this.#kept = this.#tables.flatMap((table) => {
      const rows = database.prepare(`SELECT * FROM ${table}`).all();
      if (rows.length === 0) return [];
      const columns = Object.keys(rows[0]!);
      const insert = database.prepare(
        `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
      );
      return [{ insert, rows: rows.map((row) => Object.values(row) as never[]) }];
    });
  }

  async reset(): Promise<void> {
    const { database } = this;
    await database.write(() => {
      for (const table of this.#tables) database.prepare(`DELETE FROM ${table}`).run();
      for (const { insert, rows } of this.#kept) for (const row of rows) insert.run(...row);
    });
  }
}
