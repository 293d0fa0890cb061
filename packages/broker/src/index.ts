export { type Backlog, backlogsOf } from './backlog.ts';
export { Broker, type BrokerClock, type TopicConfig } from './broker.ts';
export { BrokerError } from './broker-error.ts';
export { Database, type DatabaseOptions } from './database.ts';
export { DatabaseError } from './database-error.ts';
export { type Filter, FilterError, parseFilter } from './filter.ts';
export type { Admits } from './grpc.ts';
export type { PubsubMessage, StoredMessage } from './log.ts';
export { shortName } from './names.ts';
export { OnePort, type OnePortOptions } from './one-port.ts';
export {
  isAck,
  PushDispatcher,
  type PushOptions,
  type PushOutcome,
  type PushRequest,
  type PushSlot,
  type PushTarget,
  pushBody,
} from './push.ts';
export { createRestApi } from './rest.ts';
export type { Lease, SubscriptionState } from './subscription.ts';
export type { PushConfig, SubscriptionConfig } from './subscription-config.ts';
