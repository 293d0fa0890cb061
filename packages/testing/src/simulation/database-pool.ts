import type { Database } from '@dormouse/broker';
import type { LoadedSystem } from './loaded-system.ts';
import { ReusedDatabase } from './reused-database.ts';
import type { Topology } from './simulated-host.ts';

/** Where a run keeps state and messages: one database, where they share their transactions. */
export interface Databases {
  readonly store: Database;
  readonly broker: Database;
  readonly reused: readonly ReusedDatabase[];
  /** Has the system's topics and subscriptions. */
  isProvisioned: boolean;
}

const free = new WeakMap<LoadedSystem, Map<Topology, Databases[]>>();

export function takeDatabases(system: LoadedSystem, topology: Topology): Databases {
  const left = free.get(system)?.get(topology)?.pop();
  if (left) return left;
  const reused = topology === 'shared' ? [new ReusedDatabase()] : [new ReusedDatabase(), new ReusedDatabase()];
  return { store: reused[0]!.database, broker: reused.at(-1)!.database, reused, isProvisioned: false };
}

/** For the next run, empty but for topics and subscriptions. */
export async function giveBack(databases: Databases, system: LoadedSystem, topology: Topology): Promise<void> {
  for (const each of databases.reused) await each.reset();
  const ofSystem = free.get(system) ?? new Map<Topology, Databases[]>();
  free.set(system, ofSystem);
  ofSystem.set(topology, [...(ofSystem.get(topology) ?? []), databases]);
}
