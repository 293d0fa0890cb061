import { execFileSync } from 'node:child_process';
import { expect, test, vi } from 'vitest';
import parcels from '../../parcels/simulation.ts';
import { SimulationFailed } from './failure.ts';
import { simulate, simulateOnce } from './simulate.ts';

// Processor time, on a machine that may have other work.
vi.setConfig({ testTimeout: 300_000 });

const system = new URL('../../parcels/system.ts', import.meta.url);

/** Runs something after importing the simulator, in a process of its own. */
function elsewhere(script: string, ...flags: readonly string[]): string {
  const simulator = JSON.stringify(new URL('./simulate.ts', import.meta.url).href);
  const source = `import { simulate, simulateOnce } from ${simulator};\n${script}`;
  return execFileSync(process.execPath, [...flags, '--input-type=module', '-e', source], { encoding: 'utf8' });
}

test.each(['apart', 'shared'] as const)(
  'whatever goes wrong, parcels are collected once and no scan is forgotten: store and broker %s',
  async (topology) => {
    const { runs, struck } = await simulate({ system, runs: 50, topology });
    expect(runs).toBe(50);
    // Otherwise nothing was tried.
    expect(Object.keys(struck).length).toBeGreaterThan(12);
  },
);

test('the same seed is the same run, byte for byte, also in another process', async () => {
  for (const seed of [3, 4]) {
    const { trace } = await simulateOnce({ system, seed });
    expect(trace.length).toBeGreaterThan(20);
    expect((await simulateOnce({ system, seed })).trace).toEqual(trace);
    const script = `process.stdout.write(JSON.stringify((await simulateOnce({ system: new URL(${JSON.stringify(system.href)}), seed: ${seed} })).trace))`;
    expect(JSON.parse(elsewhere(script))).toEqual(trace);
  }
});

test('another seed is another run', async () => {
  const [one, other] = [await simulateOnce({ system, seed: 3 }), await simulateOnce({ system, seed: 4 })];
  expect(one.trace).not.toEqual(other.trace);
});

test('a bug of the system is found, shrunk to what it takes, and told with the command that repeats it', async () => {
  const forgetful = { ...parcels, environment: { PARCELS_FORGETFUL: 'yes' } };
  const failed = await simulate({ system, simulation: forgetful, runs: 1_000 }).catch((error) => error);
  expect(failed).toBeInstanceOf(SimulationFailed);
  const { failure, message } = failed as SimulationFailed;
  expect(failure.found.violations.map(({ invariant }) => invariant)).toContain('every parcel is collected once');
  const { struck, acts, trace } = failure.shrunk.result;
  // An answer is lost, and the courier asked again under another key; what else it takes depends on the seed.
  expect(acts).toEqual([expect.stringMatching(/^post \d$/)]);
  expect(struck.length).toBeGreaterThan(0);
  expect(struck.length).toBeLessThan(5);
  expect(trace.findIndex((line) => line.includes('FAULT'))).not.toBe(-1);
  expect(trace.at(-1)).toMatch(/VIOLATED every parcel is collected once: PA-\S+ was collected 2 times/);
  expect(message).toContain(`npm run simulate -- packages/testing/parcels/system.ts --seed ${failure.seed}`);
  expect(process.env.PARCELS_FORGETFUL).toBeUndefined();
});

test('without faults nothing goes wrong, and time passes all the same', async () => {
  const { struck, simulatedMs } = await simulate({ system, runs: 5, faults: [] });
  expect(struck).toEqual({});
  expect(simulatedMs).toBeGreaterThan(5 * 86_400_000);
});

test('runs leave nothing behind, whatever was killed in them: neither memory nor what makes the next one slower', () => {
  const script = `
    import { AsyncLocalStorage } from 'node:async_hooks';
    import { queryObjects } from 'node:v8';
    const system = new URL(${JSON.stringify(system.href)});
    // Collects garbage first.
    const left = () => ({ storages: queryObjects(AsyncLocalStorage), heap: process.memoryUsage().heapUsed });
    const seen = [];
    let runs = 0;
    await simulate({ system, runs: 260, onRun: () => [60, 260].includes(++runs) && seen.push(left()) });
    const [before, after] = seen;
    process.stdout.write(JSON.stringify([after.storages - before.storages, (after.heap - before.heap) / 200]));`;
  const [storages, bytesARun] = JSON.parse(elsewhere(script, '--disable-warning=ExperimentalWarning'));
  // Each that was ever run in is copied with every context of the process from then on.
  expect(storages).toBe(0);
  expect(bytesARun).toBeLessThan(50_000);
});

test('a system without a simulation is told how to get one', async () => {
  await expect(simulate({ system: new URL('../../tea/', import.meta.url) })).rejects.toThrow(
    /tea\/system.ts declares no simulation; add `simulation: '.\/scenarios\/simulation.ts'` to its system/,
  );
  await expect(simulate({ system: '/nowhere' })).rejects.toThrow('there is no system at /nowhere');
  await expect(simulate({ system, runs: 0 })).rejects.toThrow('runs must be a whole number from 1, got 0');
});
