import { defineConfig } from 'vitest/config';

const chaos = 'test/chaos/**/*.test.ts';

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A bound for a fact to be seen, not a measure of speed: a second is too little on a machine that has other work.
    expect: { poll: { timeout: 30_000 } },
    // Whole-system tests start real processes; two cores carry two files at a time.
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: { name: 'tests', include: ['{packages,apps,test,bench}/**/*.test.ts'], exclude: [chaos] },
      },
      {
        extends: true,
        // Each of them fills the machine: one at a time, when all else is over.
        test: { name: 'chaos', include: [chaos], fileParallelism: false, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
