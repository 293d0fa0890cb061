import { afterAll, test, vi } from 'vitest';
import { findEmulator, skipWithout } from '../google-emulator.ts';
import { deadLetters } from './dead-letters.ts';
import { deadlines } from './deadlines.ts';
import { detaching } from './detaching.ts';
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

const found = findEmulator('pubsub');
if ('missing' in found) skipWithout('Google’s emulator', found.missing, test.skip);
else {
  const emulator = googlesEmulator(found);
  for (const subject of subjects) subject(emulator);
  afterAll(() => emulator[Symbol.asyncDispose]());
}
