import { defineConfig } from 'vitest/config';
import { findEmulator, skipWithout } from './packages/testing/src/google-emulator.ts';

const chaos = ['test/chaos/**/*.test.ts', 'test/gcp/chaos.test.ts'];

const onGoogle = 'stories on Google’s engines';
const firestore = findEmulator('firestore');
if ('missing' in firestore) skipWithout(onGoogle, firestore.missing, (reason) => process.stderr.write(`${reason}\n`));

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
        test: { name: 'tests', include: ['{packages,apps,test,bench}/**/*.test.ts'], exclude: chaos },
      },
      ...('missing' in firestore
        ? []
        : [
            {
              extends: true as const,
              // The same files once more. What retention removes on one machine Firestore removes by itself, in its own time.
              test: {
                name: onGoogle,
                include: ['apps/casework/scenarios/*.test.ts', 'packages/testing/src/story.test.ts'],
                exclude: ['**/{retention,simulation}.test.ts'],
                globalSetup: ['packages/testing/src/firestore-emulator.ts'],
                env: { DORMOUSE_STORIES: 'gcp' },
              },
            },
          ]),
      {
        extends: true,
        // Each of them fills the machine: one at a time, when all else is over.
        test: { name: 'chaos', include: chaos, fileParallelism: false, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
