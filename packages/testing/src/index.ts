export { ManualClock } from './manual-clock.ts';
export { type PubsubServer, pubsubSuite } from './pubsub-suite.ts';
export { SeededRandom } from './seeded-random.ts';
export { stateStoreSuite } from './state-store-suite.ts';
export { type LogLine, Story, type StoryOptions, type WireMessage } from './story.ts';
