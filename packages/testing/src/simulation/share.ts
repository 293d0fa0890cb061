import { SimulationFailed } from './failure.ts';
import type { FaultName } from './faults.ts';
import { type SimulationReport, simulate } from './simulate.ts';
import type { Topology } from './simulated-host.ts';

/** What one of the processes is to run. */
export interface Share {
  readonly system: string;
  readonly seed: number;
  readonly runs: number;
  readonly faults?: readonly FaultName[];
  readonly topology: Topology;
}

/** What it tells of it: `runs` since the last time, and at its end the report or what is wrong. */
export type Told =
  | { readonly runs: number }
  | { readonly report: SimulationReport }
  | { readonly failed: string; readonly seed: number }
  | { readonly error: string };

const tellEvery = 10;

/** Runs in a process of its own, for `npm run simulate`. */
async function work(share: Share, tell: (told: Told) => void): Promise<void> {
  let untold = 0;
  const onRun = () => {
    untold++;
    if (untold < tellEvery) return;
    tell({ runs: untold });
    untold = 0;
  };
  try {
    const report = await simulate({ ...share, onRun });
    tell({ runs: untold });
    tell({ report });
  } catch (error) {
    if (error instanceof SimulationFailed) tell({ failed: error.message, seed: error.failure.seed });
    else tell({ error: `simulate: ${(error as Error).message}` });
  }
}

process.once('message', (share: Share) => {
  void work(share, (told) => process.send?.(told)).then(() => process.disconnect?.());
});
// Whoever started it is gone.
process.once('disconnect', () => process.exit());
