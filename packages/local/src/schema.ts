import type { DatabaseSync } from 'node:sqlite';
import { Broker } from '@dormouse/broker';
import { SqliteStateStore } from './state-store.ts';

/** The newest version of each component's tables that this program knows. */
const known: Readonly<Record<string, number>> = { broker: Broker.schema.length, state: SqliteStateStore.schema.length };

/** The version of each component's tables in a database. */
export function schemaVersions(database: DatabaseSync): Record<string, number> {
  const rows = database.prepare('SELECT component, version FROM schema_version ORDER BY component').all();
  return Object.fromEntries(rows.map(({ component, version }) => [component as string, version as number]));
}

/** What makes versions of tables newer than this program; undefined where nothing does. */
export function newerThanKnown(versions: Readonly<Record<string, number>>): string | undefined {
  const newer = Object.entries(versions).find(([component, version]) => version > (known[component] ?? version));
  return newer && `its ${newer[0]} tables have version ${newer[1]}, this program knows up to ${known[newer[0]]}`;
}

/** Tables of an older program, which the next start of a host brings forward; undefined where there are none. */
export function olderThanKnown(versions: Readonly<Record<string, number>>): string | undefined {
  const older = Object.entries(versions).find(([component, version]) => version < (known[component] ?? version));
  return older && `its ${older[0]} tables have version ${older[1]}, this program's have ${known[older[0]]}`;
}

/** What SQLite finds wrong with a database, page by page and index by index; nothing where it is sound. */
export function integrityProblems(database: DatabaseSync): string[] {
  try {
    const found = database.prepare('PRAGMA integrity_check(5)').all();
    return found.map(({ integrity_check }) => integrity_check as string).filter((text) => text !== 'ok');
  } catch (error) {
    return [(error as Error).message];
  }
}
