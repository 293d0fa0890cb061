export type { Explanation, Fate } from './admin/explain.ts';
export type { SubscriptionView } from './admin/subscription-view.ts';
export { type Backlog, backlogsOf } from './backlog.ts';
export { Broker } from './broker.ts';
export { BrokerError } from './broker-error.ts';
export type { BrokerClock } from './clock.ts';
export { Database, type DatabaseOptions } from './database.ts';
export { DatabaseError } from './database-error.ts';
export { type Filter, FilterError, parseFilter } from './filter.ts';
export type { Admits } from './grpc.ts';
export type { Lease } from './lease.ts';
export { messagesIn, type PubsubMessage, type StoredMessage } from './log.ts';
export { shortName } from './names.ts';
export { OnePort, type OnePortOptions } from './one-port.ts';
export { isOpenid } from './openid.ts';
export {
  PushDispatcher,
  type PushOptions,
  type PushOutcome,
  type PushRequest,
  type PushSlot,
  type PushTarget,
} from './push.ts';
export { isAck, type PushContent, pushContent } from './push-content.ts';
export { PushEndpoints } from './push-endpoint-target.ts';
export { googleIssuer, newPushKey, PushSigner } from './push-signer.ts';
export { createRestApi, errorAnswer, type RestAnswer, type RestApi, type RestRequest } from './rest.ts';
export { createRestServer } from './rest-server.ts';
export type { SubscriptionState } from './subscription.ts';
export type { PushConfig, SubscriptionConfig } from './subscription-config.ts';
export type { TopicConfig } from './topic-config.ts';
