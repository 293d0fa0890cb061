export { type Actor, may, type Role, roles, sees, tenantOfNew } from './actor.ts';
export { admission, type Refused, type RequestHead, UncheckedTokenError } from './admission.ts';
export { deliveryRef } from './attempt.ts';
export { type AuditedEntry, auditMessage } from './audit.ts';
export { type BlobStore, type FileRef, fileHash, readFile, saltKeyOf } from './blob-store.ts';
export { canonicalJson } from './canonical-json.ts';
export { clientLink, workflowsOfClient } from './client.ts';
export { type Clock, type Random, systemClock, systemRandom } from './clock.ts';
export {
  type Command,
  CommandRefused,
  type CommandRequest,
  command,
  InvalidInput,
  type Problem,
  runCommand,
} from './command.ts';
export { commitUnit } from './commit.ts';
export { pageSize, readLogCursor, readPageCursor, writePageCursor } from './cursor.ts';
export { type DeadLetter, deadLetters } from './dead-letter.ts';
export { commandsOf } from './dead-letter-commands.ts';
export type { DeferOptions } from './deferral.ts';
export { type Duration, durationMs, durationSeconds } from './duration.ts';
export {
  type Delivery,
  type DeliveryMarks,
  decodeMarks,
  decodeMessage,
  deliveryOf,
  type Envelope,
  encodeMessage,
  type Message,
} from './envelope.ts';
export {
  type ErasedWorkflow,
  Erasure,
  type ErasurePorts,
  type ErasureProgress,
  type ErasureRequest,
} from './erasure.ts';
export { ConflictError, DormouseError, type ErrorCode, errorCodes } from './errors.ts';
export {
  causeOf,
  type Decision,
  decide,
  type Fate,
  fates,
  handlerPolicy,
  PermanentError,
  RetryLaterError,
  type RetryOptions,
  type RetryPolicy,
} from './failure.ts';
export { type Folded, foldedAt, foldedChains } from './fold.ts';
export { Foresight } from './foresight.ts';
export { derivedId, hmacSha256, randomId, sha256, workflowId } from './ids.ts';
export { forgetLines, type HeldBack, heldBack, heldBehind, moveLines } from './lines.ts';
export { checkListing, isListed, type ListedOf, listings } from './listing.ts';
export {
  actorOf,
  type Cause,
  chainHash,
  type Entry,
  type EntryDraft,
  firstHash,
  type JournalDraft,
  type PublishedEvent,
} from './log.ts';
export type { Logger } from './logger.ts';
export { checkName } from './name.ts';
export { type Line, lineRef, type Order, type PoisonPolicy } from './order.ts';
export { applyPatch, difference, type PatchOperation } from './patch.ts';
export {
  commitmentOf,
  erasedMark,
  erasedRef,
  isCommitment,
  isSealed,
  opened,
  personalActivitiesOf,
  personalFilesOf,
} from './personal.ts';
export {
  type DeclaredSubscription,
  type DeclaredSystem,
  isOfSystem,
  longestRetentionMs,
  type Plan,
  type PlanOptions,
  planOf,
  type SubscriptionPlan,
  type TopicPlan,
} from './plan.ts';
export {
  applyToSubscription,
  type Change,
  changesTo,
  differs,
  type FieldChange,
  provision,
  subscriptionChange,
  undeclaredIn,
} from './provision.ts';
export { PubsubClient, PubsubError, type PubsubTransport, type PushPlan } from './pubsub-client.ts';
export { createEndpoint, type Endpoint, type EndpointPorts, maxPushBytes } from './push-endpoint.ts';
export { type PushClaims, pushTokenCheck } from './push-token.ts';
export { rawFilter, wireAttempts } from './raw-dead-letter.ts';
export { redacted, redactedFacts } from './redact.ts';
export { orderOf, type Publisher, Relay } from './relay.ts';
export { type Removed, removedRef } from './retention.ts';
export type { Sandbox, SandboxModule, SandboxOptions } from './sandbox.ts';
export {
  fireDue,
  strandedAfterMs,
  type Ticked,
  type TickPorts,
  type TickStore,
  tick,
  timersAtATime,
  type Waker,
} from './scheduler.ts';
export {
  type Handler,
  on,
  type Service,
  type ServiceLimits,
  type Subscription,
  type SubscriptionOptions,
  service,
  serviceOf,
  subscriptionPolicy,
} from './service.ts';
export {
  type Committed,
  collectionOf,
  documentTaken,
  idOf,
  type LogQuery,
  type Page,
  type Query,
  type Ref,
  refOf,
  refuseUndeclared,
  type StateStore,
  type UnitOfWork,
  type Unsent,
  type UnsentQuery,
  unsentAtATime,
  type Versioned,
  type Write,
} from './state-store.ts';
export type {
  ActivityContext,
  ActivityOptions,
  Document,
  FileOptions,
  PublishOptions,
  RedriveOptions,
  Step,
  StepPorts,
} from './step.ts';
export { type ForeignService, type System, system } from './system.ts';
export { auditLog, deadLetter } from './system-topics.ts';
export { defaultTenant, everyTenant, tenantName, tenantNameRule } from './tenant.ts';
export { firing, type Timer, timersOf } from './timer.ts';
export { type Topic, topic } from './topic.ts';
export { type Collection, collection, type WorkflowKind, workflow, workflowOf, workflows } from './workflow.ts';
