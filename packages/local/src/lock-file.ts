import { DatabaseSync } from 'node:sqlite';

/** SQLITE_BUSY. Source: sqlite.org/rescode.html. */
const sqliteBusy = 5;

/** A lock that one process holds at a time: SQLite's on an empty file, so the kernel gives it back when its holder dies. */
export class LockFile {
  readonly #connection: DatabaseSync;

  private constructor(connection: DatabaseSync) {
    this.#connection = connection;
  }

  /** Undefined where another process holds it. @throws where the file cannot be made or locked at all */
  static take(path: string): LockFile | undefined {
    const connection = new DatabaseSync(path, { timeout: 0 });
    try {
      connection.exec('BEGIN EXCLUSIVE');
      return new LockFile(connection);
    } catch (error) {
      connection.close();
      if ((error as { errcode?: number }).errcode === sqliteBusy) return undefined;
      throw error;
    }
  }

  release(): void {
    this.#connection.close();
  }
}
