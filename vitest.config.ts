import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { findEmulator, skipWithout } from './packages/testing/src/google-emulator.ts';

// Each of these fills the machine.
const chaos = ['test/chaos/{chaos,broker-chaos}.test.ts', 'test/gcp/chaos.test.ts'];

const onGoogle = 'stories on Google’s engines';
const firestore = findEmulator('firestore');
if ('missing' in firestore) skipWithout(onGoogle, firestore.missing, (reason) => process.stderr.write(`${reason}\n`));

export default defineConfig({
  test: {
    // Bounds for a fact to be seen, not measures of speed: they leave room on a machine that has other work.
    testTimeout: 180_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    // Tests of whole systems wait half of their time, for processes to start, for deadlines and for emulators.
    maxWorkers: Math.min(8, 2 * availableParallelism()),
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
        // When all else is over.
        test: { name: 'chaos', include: chaos, maxWorkers: 2, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
