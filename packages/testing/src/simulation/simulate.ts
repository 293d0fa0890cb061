import { existsSync, statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SimulationFailed } from './failure.ts';
import type { FaultName } from './faults.ts';
import { defaultOf, type LoadedSystem, loadSystem } from './loaded-system.ts';
import { shrink } from './shrink.ts';
import type { Topology } from './simulated-host.ts';
import type { Simulation } from './simulation.ts';
import { type RunResult, runOnce } from './world.ts';

export interface SimulateOptions {
  /** The system's file, or the folder in which it is `system.ts`. */
  readonly system: string | URL;
  /** Default: what the system declares as its `simulation`. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever its outside is, it is its own affair
  readonly simulation?: Simulation<any>;
  /** Default 100. */
  readonly runs?: number;
  /** Of the first run; the next has the next number. A run depends on its seed alone. Default 1. */
  readonly seed?: number;
  /** What may go wrong. Default: everything. */
  readonly faults?: readonly FaultName[];
  /** Whether store and broker are apart, with outbox and relay, or share their transactions. Default `apart`, the harder one. */
  readonly topology?: Topology;
  /** Whether a failure is made as small as can be, for up to half a minute. Default true. */
  readonly shrinks?: boolean;
  /** After each run. */
  readonly onRun?: (result: RunResult) => void;
  /** No run begins after it. */
  readonly signal?: AbortSignal;
}

/** What held. */
export interface SimulationReport {
  readonly runs: number;
  /** How often each fault struck. */
  readonly struck: Readonly<Partial<Record<FaultName, number>>>;
  /** Calls through ports. */
  readonly points: number;
  /** Of virtual time, over all runs. */
  readonly simulatedMs: number;
}

/**
 * Runs a whole system again and again on virtual time, each time from another seed and with other faults: its real
 * handlers over the real store and broker in memory, in one process, with what the simulation plays as the outside.
 *
 *   await simulate({ system: new URL('../system.ts', import.meta.url), runs: 1_000 });
 *
 * The same seed gives the same run, event by event, on every machine. One at a time in a process.
 * @throws SimulationFailed with the first run in which an invariant does not hold, shrunk, and its trace
 */
export async function simulate({ runs = 100, seed = 1, ...options }: SimulateOptions): Promise<SimulationReport> {
  checkNumber('runs', runs, 1);
  checkNumber('seed', seed, 0);
  await using prepared = await prepare(options);
  const struck: Partial<Record<FaultName, number>> = {};
  let [done, points, simulatedMs] = [0, 0, 0];
  for (; done < runs && !options.signal?.aborted; done++) {
    const run = { ...prepared, seed: seed + done, only: options.faults, topology: options.topology };
    const result = await runOnce(run);
    points += result.points;
    simulatedMs += result.lastedMs;
    for (const each of result.struck) {
      const name = each.slice(0, each.indexOf(' ')) as FaultName;
      struck[name] = (struck[name] ?? 0) + 1;
    }
    options.onRun?.(result);
    if (result.violations.length > 0) {
      const shrunk = (options.shrinks ?? true) ? await shrink(run, result) : { result, tried: 0 };
      throw new SimulationFailed({ seed: run.seed, topology: run.topology, found: result, shrunk }, prepared.path);
    }
  }
  return { runs: done, struck, points, simulatedMs };
}

/** One run with its trace, whether or not an invariant breaks: who did what, and which fault struck when. */
export async function simulateOnce({ seed = 1, ...options }: Omit<SimulateOptions, 'runs'>): Promise<RunResult> {
  checkNumber('seed', seed, 0);
  await using prepared = await prepare(options);
  return await runOnce({ ...prepared, seed, only: options.faults, topology: options.topology, traced: true });
}

/** A system with its simulation, and its settings in the environment as long as it is used. */
async function prepare({ system: given, simulation: own }: Pick<SimulateOptions, 'system' | 'simulation'>) {
  const systemFile = systemFileOf(given);
  const system = await loadSystem(systemFile);
  const simulation = own ?? (await simulationOf(system, systemFile));
  const before = new Map(Object.keys(simulation.environment ?? {}).map((name) => [name, process.env[name]]));
  Object.assign(process.env, simulation.environment);
  return {
    system,
    simulation,
    path: relative(process.cwd(), systemFile),
    async [Symbol.asyncDispose]() {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    },
  };
}

function systemFileOf(given: string | URL): string {
  const path = resolve(given instanceof URL ? fileURLToPath(given) : given);
  const file = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? join(path, 'system.ts') : path;
  if (!existsSync(file))
    throw new Error(`there is no system at ${file}; give its file, or the folder with its system.ts`);
  return file;
}

async function simulationOf({ manifest }: LoadedSystem, systemFile: string): Promise<Simulation<unknown>> {
  if (!manifest.simulation) {
    throw new Error(
      `${systemFile} declares no simulation; add \`simulation: './scenarios/simulation.ts'\` to its system, with \`export default simulation({ acts: … })\` there`,
    );
  }
  const found = await defaultOf<Simulation<unknown> | undefined>(manifest.simulation);
  if (!found?.acts)
    throw new Error(`${manifest.simulation} exports no simulation; write \`export default simulation({…})\``);
  return found;
}

function checkNumber(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new Error(`${name} must be a whole number from ${least}, got ${value}`);
}
