import type { Database } from './database.ts';

/** IAM policies by the name of their resource: kept and given back, no more. */
export class Policies {
  readonly #database: Database;

  static readonly schema =
    'CREATE TABLE policy (resource TEXT PRIMARY KEY, policy TEXT NOT NULL) STRICT, WITHOUT ROWID;';

  constructor(database: Database) {
    this.#database = database;
  }

  /** Undefined where none was set. */
  get(resource: string): unknown {
    const row = this.#database.prepare('SELECT policy FROM policy WHERE resource = ?').get(resource);
    return row && JSON.parse(row.policy as string);
  }

  /** `change` sees what the changes before it left. */
  async set<T>(resource: string, change: (policy: unknown) => T): Promise<T> {
    return this.#database.write(() => {
      const policy = change(this.get(resource));
      this.#database
        .prepare('INSERT OR REPLACE INTO policy (resource, policy) VALUES (?, ?)')
        .run(resource, JSON.stringify(policy));
      return policy;
    });
  }

  /** Only inside a write. */
  forget(resource: string): void {
    this.#database.prepare('DELETE FROM policy WHERE resource = ?').run(resource);
  }
}
