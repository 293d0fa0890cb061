export { type PubsubServer, pubsubSuite } from './pubsub-suite.ts';
export { stateStoreSuite } from './state-store-suite.ts';
