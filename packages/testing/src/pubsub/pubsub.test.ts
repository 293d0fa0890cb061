import { afterAll, test, vi } from 'vitest';
import { deadLetters } from './dead-letters.ts';
import { deadlines } from './deadlines.ts';
import { detaching } from './detaching.ts';
import { findEmulator } from './emulator.ts';
import { exactlyOnceDelivery } from './exactly-once.ts';
import { filters } from './filters.ts';
import { names } from './names.ts';
import { ordering } from './ordering.ts';
import { pagingAndMasks } from './paging-and-masks.ts';
import { policies } from './policies.ts';
import { publishing } from './publishing.ts';
import { pulling } from './pulling.ts';
import { retention } from './retention.ts';
import { retryPolicy } from './retry-policy.ts';
import { schemas } from './schemas.ts';
import { seeking } from './seeking.ts';
import { streamingPull } from './streaming-pull.ts';
import { subscriptions } from './subscriptions.ts';
import { brokerOverGrpc, brokerOverRest, googlesEmulator } from './targets.ts';
import { topics } from './topics.ts';
import { transforms, transformsOnStreams } from './transforms.ts';

// Most of what a case does is to wait, for a deadline or for the others.
vi.setConfig({ maxConcurrency: 60, testTimeout: 120_000 });

const subjects = [
  names,
  topics,
  subscriptions,
  publishing,
  pulling,
  deadlines,
  retryPolicy,
  filters,
  policies,
  detaching,
  streamingPull,
  pagingAndMasks,
  ordering,
  deadLetters,
  exactlyOnceDelivery,
  retention,
  schemas,
  transforms,
  transformsOnStreams,
  seeking,
];

for (const target of [brokerOverRest, brokerOverGrpc]) {
  for (const subject of subjects) subject(target);
}

const found = findEmulator();
if ('missing' in found) test.skip(`Google’s emulator, skipped: ${found.missing}`);
else {
  const emulator = googlesEmulator(found.jar);
  for (const subject of subjects) subject(emulator);
  afterAll(() => emulator[Symbol.asyncDispose]());
}
