import { type RunOptions, type RunResult, runOnce } from './world.ts';

/** Real time for it: by then it is small enough to be read, or never. */
const boundMs = 30_000;

export interface Shrunk {
  readonly result: RunResult;
  /** How many runs it took. */
  readonly tried: number;
}

/**
 * The same failure with as few faults and acts as can be found: those are taken away in halves, quarters and so on down
 * to single ones, as long as the same invariant is still broken. Then once more, with its trace.
 */
export async function shrink(options: RunOptions, failed: RunResult): Promise<Shrunk> {
  const broken = new Set(failed.violations.map(({ invariant }) => invariant));
  const until = performance.now() + boundMs;
  let tried = 0;
  const run = async (faults: readonly string[], acts: readonly string[]): Promise<RunResult | undefined> => {
    if (performance.now() > until) return undefined;
    tried++;
    const without = new Set(failed.acts.filter((act) => !acts.includes(act)));
    const result = await runOnce({ ...options, allowed: new Set(faults), without });
    return result.violations.some(({ invariant }) => broken.has(invariant)) ? result : undefined;
  };
  let faults: readonly string[] = failed.struck;
  let acts: readonly string[] = failed.acts;
  for (let before = -1; before !== faults.length + acts.length; ) {
    before = faults.length + acts.length;
    // What no longer happens is not needed either.
    faults = await fewest(faults, async (some) => (await run(some, acts))?.struck);
    acts = await fewest(acts, async (some) => ((await run(faults, some)) ? some : undefined));
  }
  const without = new Set(failed.acts.filter((act) => !acts.includes(act)));
  const result = await runOnce({ ...options, allowed: new Set(faults), without, traced: true });
  return { result: { ...result, acts }, tried };
}

/** @param holds answers what was really used of a part that suffices; undefined where it does not suffice */
async function fewest(
  all: readonly string[],
  holds: (some: readonly string[]) => Promise<readonly string[] | undefined>,
): Promise<readonly string[]> {
  let kept = all;
  for (let size = kept.length; size >= 1; size = Math.floor(size / 2)) {
    for (let from = 0; from < kept.length; ) {
      const rest = kept.toSpliced(from, size);
      const used = await holds(rest);
      if (used) kept = rest.filter((each) => used.includes(each));
      else from += size;
    }
  }
  return kept;
}
