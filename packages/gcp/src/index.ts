export { GcsBlobStore, type GcsBlobStoreOptions, storageUrl } from './blob-store.ts';
export { type GcpEnvironment, readEnvironment } from './environment.ts';
export { Firestore, type FirestoreOptions, firestoreUrl } from './firestore.ts';
export { GoogleError } from './google-error.ts';
export {
  GoogleRest,
  type GoogleRestOptions,
  type RestAnswer,
  type RestRequest,
  type TokenSource,
} from './google-rest.ts';
export { type CloudAnswer, type CloudHead, HttpServer, type Route } from './http-server.ts';
export {
  AccessTokens,
  googleIssuers,
  googleKeysUrl,
  identityToken,
  metadataUrl,
  type TokenCheckOptions,
  TokenKeys,
  tokenCheck,
} from './identity.ts';
export { type ImageSystem, systemFileName } from './image-system.ts';
export { type FirestoreIndexes, firestoreIndexes } from './indexes.ts';
export { LogWatch } from './log-watch.ts';
export type { Grant } from './permissions.ts';
export {
  type BucketPlan,
  type DeclaredDeployment,
  type FirestorePlan,
  type GooglePlan,
  type GooglePlanOptions,
  googlePlanOf,
  type QueuePlan,
  type RunPlan,
  type SchedulePlan,
} from './plan.ts';
export { GcpPlatform } from './platform.ts';
export { type GooglePorts, type GooglePortsOptions, googlePorts } from './ports.ts';
export { pubsubOver } from './pubsub-transport.ts';
export { TaskScheduler, type TaskSchedulerOptions, type TickBody, tasksUrl } from './scheduler.ts';
export { starting } from './starting.ts';
export { FirestoreStateStore, type FirestoreStateStoreOptions } from './state-store.ts';
export { type TickOptions, tickRoute } from './tick.ts';
