import { randomUUID } from 'node:crypto';
import type { Broker } from '../broker.ts';
import { BrokerError, badRequest } from '../broker-error.ts';
import { checkResourceName } from '../names.ts';
import { bounds, completedConfig, type PushConfig, type SubscriptionConfig } from '../subscription-config.ts';
import { activeUdfs, checkTransforms } from '../transform/message-transform.ts';
import type { Json } from '../wire/json.ts';
import { messageType } from '../wire/wire.ts';
import { checkLabels } from './labels.ts';
import { applyMask } from './mask.ts';
import { refuseNotYet } from './not-yet.ts';
import { type PageRequest, pageOf } from './page.ts';
import { completedPush } from './push-config.ts';

const changeable = [
  'labels',
  'pushConfig',
  'bigqueryConfig',
  'cloudStorageConfig',
  'bigtableConfig',
  'ackDeadlineSeconds',
  'retainAckedMessages',
  'messageRetentionDuration',
  'expirationPolicy',
  'deadLetterPolicy',
  'retryPolicy',
  'enableExactlyOnceDelivery',
  'messageTransforms',
];

/** Of these at most one: a subscription delivers one way. */
const ways = ['bigqueryConfig', 'cloudStorageConfig', 'bigtableConfig'] as const;

/** The part of google.pubsub.v1.Subscriber that keeps subscriptions, and Publisher.DetachSubscription. */
export function subscriptions(broker: Broker) {
  const checkFunctions = async ({ name, messageTransforms }: SubscriptionConfig) => {
    const whose = `subscription "${name}"`;
    checkTransforms(whose, messageTransforms);
    await broker.transforms.check(whose, activeUdfs(messageTransforms));
  };
  return {
    async createSubscription(request: SubscriptionConfig): Promise<Json> {
      const { topic = '' } = request;
      checkResourceName('topics', topic);
      // Only over gRPC: in a path there is always a name.
      const name = request.name || `${topic.split('/topics/')[0]}/subscriptions/s-${randomUUID()}`;
      checkResourceName('subscriptions', name);
      const config = checked(broker, { ...request, name });
      await checkFunctions(config);
      return shown(broker, await broker.createSubscription(config));
    },

    async getSubscription({ subscription = '' }): Promise<Json> {
      return shown(broker, broker.subscription(subscription).config);
    },

    async updateSubscription(request: { subscription?: SubscriptionConfig; updateMask?: string }): Promise<Json> {
      const { subscription: given, updateMask = '' } = request;
      const type = messageType('google.pubsub.v1.Subscription');
      const change = (kept: SubscriptionConfig) =>
        checked(
          broker,
          applyMask(type, { ...kept }, { ...given }, updateMask, changeable) as unknown as SubscriptionConfig,
          kept,
        );
      // Whatever the mask says: what is sent is to be right.
      if (given) await checkFunctions(given);
      return shown(broker, await broker.updateSubscription(given?.name ?? '', change));
    },

    async modifyPushConfig(request: { subscription?: string; pushConfig?: PushConfig }): Promise<Json> {
      const { subscription = '', pushConfig = {} } = request;
      await broker.updateSubscription(subscription, (kept) => {
        // Left out, the version stays what it is.
        const attributes = { ...kept.pushConfig?.attributes, ...pushConfig.attributes };
        return checked(broker, { ...kept, pushConfig: { ...pushConfig, attributes } }, kept);
      });
      return {};
    },

    async listSubscriptions({ project = '', ...request }: { project?: string } & PageRequest): Promise<Json> {
      const all = broker.subscriptions.filter(({ config }) => config.name.startsWith(`${project}/`));
      const { page, ...rest } = pageOf(all, ({ config }) => config.name, request);
      return { subscriptions: page.map(({ config }) => shown(broker, config)), ...rest };
    },

    async deleteSubscription({ subscription = '' }): Promise<Json> {
      await broker.deleteSubscription(subscription);
      return {};
    },

    async detachSubscription({ subscription = '' }): Promise<Json> {
      await broker.detachSubscription(subscription);
      return {};
    },
  };
}

/** As it is kept, with what Google fills in. @throws BrokerError */
function checked(broker: Broker, config: SubscriptionConfig, before?: SubscriptionConfig): SubscriptionConfig {
  checkLabels(config.labels);
  const { tags, state, topicMessageRetentionDuration, analyticsHubSubscriptionInfo, ...kept } =
    config as SubscriptionConfig & Record<string, unknown>;
  refuseNotYet('subscription', { ...kept, tags });
  checkTransforms(`subscription "${kept.name}"`, kept.messageTransforms);
  const { name, pushConfig = {} } = kept;
  const exports = ways.filter((way) => kept[way] !== undefined);
  if (exports.length + (pushConfig.pushEndpoint ? 1 : 0) > 1) {
    throw badRequest(
      'subscription',
      `subscription "${name}" delivers in one way; it has ${[pushConfig.pushEndpoint && 'pushConfig', ...exports].filter(Boolean).join(' and ')}`,
    );
  }
  const complete = completedConfig({ ...kept, pushConfig: completedPush(name, pushConfig) });
  const { deadLetterPolicy } = complete;
  if (deadLetterPolicy && deadLetterPolicy.deadLetterTopic !== before?.deadLetterPolicy?.deadLetterTopic) {
    checkResourceName('topics', deadLetterPolicy.deadLetterTopic ?? '');
    if (!broker.hasTopic(deadLetterPolicy.deadLetterTopic!)) {
      throw new BrokerError(
        'NOT_FOUND',
        `subscription "${name}": there is no dead-letter topic "${deadLetterPolicy.deadLetterTopic}"; create it first`,
      );
    }
  }
  return complete;
}

function shown(broker: Broker, config: SubscriptionConfig): Json {
  // Nothing is exported from here, and the subscription says so.
  const exporting = ways.some((way) => config[way] !== undefined);
  const ofTopic = broker.hasTopic(config.topic) ? broker.topic(config.topic).messageRetentionDuration : undefined;
  return {
    messageRetentionDuration: `${bounds.retentionMs.unset / 1000}s`,
    expirationPolicy: { ttl: `${bounds.ttlMs.unset / 1000}s` },
    ...config,
    ...(ofTopic && { topicMessageRetentionDuration: ofTopic }),
    state: exporting ? 'RESOURCE_ERROR' : 'ACTIVE',
  };
}
