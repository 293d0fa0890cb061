export { FaultProxy } from './fault-proxy.ts';
export { MetadataServer } from './google/metadata-server.ts';
export type { Fault, Mishap, OrderedFault, SeenRequest } from './google/ordered-faults.ts';
export { StorageServer } from './google/storage-server.ts';
export { TasksServer } from './google/tasks-server.ts';
export { Emulator, type EmulatorProgram, findEmulator, skipWithout } from './google-emulator.ts';
export { ManualClock } from './manual-clock.ts';
export { type PubsubServer, pubsubSuite } from './pubsub-suite.ts';
export { SeededRandom } from './seeded-random.ts';
export { SimulationFailed } from './simulation/failure.ts';
export { type FaultName, faults } from './simulation/faults.ts';
export type { OutsideCall, OutsideCalls } from './simulation/outside-calls.ts';
export { type SimulateOptions, type SimulationReport, simulate, simulateOnce } from './simulation/simulate.ts';
export {
  type Act,
  type CommandAnswer,
  type CommandCall,
  type Documents,
  type Facts,
  type Invariant,
  invariant,
  type Simulation,
  type StoredDocument,
  simulation,
  type World,
} from './simulation/simulation.ts';
export type { RunResult, Violation } from './simulation/world.ts';
export { stateStoreSuite } from './state-store-suite.ts';
export { type LogLine, Story, type StoryOptions, type WireMessage } from './story.ts';
