import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{packages,apps,test,bench}/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Whole-system tests start real processes; two cores carry two files at a time.
    maxWorkers: 2,
  },
});
