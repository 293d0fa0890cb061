import type { Broker } from '../broker.ts';
import { badRequest } from '../broker-error.ts';
import type { PubsubMessage } from '../log.ts';
import { checkMessages } from '../message-limits.ts';
import { checkResourceName } from '../names.ts';
import { bounds, millisecondsOf } from '../subscription-config.ts';
import type { TopicConfig } from '../topic-config.ts';
import { activeUdfs, checkTransforms, type Udf } from '../transform/message-transform.ts';
import type { Json } from '../wire/json.ts';
import { messageType } from '../wire/wire.ts';
import { checkLabels } from './labels.ts';
import { applyMask } from './mask.ts';
import type { PublishedMessage } from './message.ts';
import { notYet, refuseNotYet } from './not-yet.ts';
import { type PageRequest, pageOf } from './page.ts';
import { keptSettings, shownSettings } from './schema-settings.ts';

const changeable = [
  'labels',
  'messageStoragePolicy',
  'schemaSettings',
  'messageRetentionDuration',
  'ingestionDataSourceSettings',
  'messageTransforms',
];

const none: PubsubMessage['attributes'] = Object.freeze({});

/** google.pubsub.v1.Publisher, but for DetachSubscription. */
export function topics(broker: Broker) {
  const { schemas, transforms } = broker;
  const shown = (config: TopicConfig): Json => ({ ...shownSettings(schemas, config), state: stateOf(config) });
  const transformedFor = (topic: string, udfs: readonly Udf[], messages: readonly PubsubMessage[]) => {
    checkMessages(messages);
    return transforms.publishing(topic, udfs, messages);
  };
  return {
    async createTopic(request: TopicConfig): Promise<Json> {
      checkResourceName('topics', request.name ?? '');
      const config = checked(request);
      await transforms.check(`topic "${config.name}"`, activeUdfs(config.messageTransforms));
      return shown(await broker.createTopic(keptSettings(schemas, config)));
    },

    async getTopic({ topic = '' }): Promise<Json> {
      return shown(broker.topic(topic));
    },

    async updateTopic({ topic, updateMask = '' }: { topic: TopicConfig; updateMask?: string }): Promise<Json> {
      const type = messageType('google.pubsub.v1.Topic');
      const change = (kept: TopicConfig) => {
        const before = { ...shownSettings(schemas, kept) };
        const after = applyMask(type, before, { ...topic }, updateMask, changeable) as unknown as TopicConfig;
        return keptSettings(schemas, checked(after), kept);
      };
      // Whatever the mask says: what is sent is to be right.
      const { name = '', messageTransforms } = topic ?? {};
      checkTransforms(`topic "${name}"`, messageTransforms);
      await transforms.check(`topic "${name}"`, activeUdfs(messageTransforms));
      return shown(await broker.updateTopic(name, change));
    },

    async deleteTopic({ topic = '' }): Promise<Json> {
      await broker.deleteTopic(topic);
      return {};
    },

    async listTopics({ project = '', ...request }: { project?: string } & PageRequest): Promise<Json> {
      const all = broker.topics.filter(({ name }) => name.startsWith(`${project}/`));
      const { page, ...rest } = pageOf(all, ({ name }) => name, request);
      return { topics: page.map(shown), ...rest };
    },

    async listTopicSubscriptions({ topic = '', ...request }: { topic?: string } & PageRequest): Promise<Json> {
      const names = broker.subscriptionsOf(topic).map(({ config }) => config.name);
      const { page, ...rest } = pageOf(names, (name) => name, request);
      return { subscriptions: page, ...rest };
    },

    async publish({ topic = '', messages = [] }: { topic?: string; messages?: PublishedMessage[] }): Promise<Json> {
      const { name, kmsKeyName, schemaSettings, messageTransforms } = broker.topic(topic);
      if (kmsKeyName) throw notYet(`topic "${name}": encryption by a key of Cloud KMS (kmsKeyName)`);
      const complete = messages.map(({ data = '', attributes = none, orderingKey }) =>
        orderingKey ? { data, attributes, orderingKey } : { data, attributes },
      );
      const udfs = activeUdfs(messageTransforms);
      if (udfs.length === 0 && !schemaSettings) return { messageIds: await broker.publish(topic, complete) };
      const transformed = udfs.length > 0 ? await transformedFor(topic, udfs, complete) : complete;
      const left = transformed.filter((message) => message !== undefined);
      const admitted = schemaSettings ? await schemas.admit(schemaSettings, left) : left;
      const ids = left.length === 0 && complete.length > 0 ? [] : await broker.publish(topic, admitted);
      // One that is filtered out was taken all the same.
      return { messageIds: transformed.map((message) => (message ? ids.shift()! : broker.newMessageId())) };
    },
  };
}

/** As it is kept. @throws BrokerError */
function checked(config: TopicConfig): TopicConfig {
  checkLabels(config.labels);
  const { tags, state, satisfiesPzs, ...kept } = config as TopicConfig & Record<string, unknown>;
  refuseNotYet('topic', { ...kept, tags });
  checkTransforms(`topic "${kept.name}"`, kept.messageTransforms);
  const { least, most } = bounds.retentionMs;
  const retentionMs = millisecondsOf(kept.messageRetentionDuration);
  if (retentionMs !== undefined && !(retentionMs >= least && retentionMs <= most)) {
    throw badRequest(
      'message_retention_duration',
      `topic "${kept.name}": messageRetentionDuration must be "${least / 1000}s" to "${most / 1000}s", got "${kept.messageRetentionDuration}"`,
    );
  }
  return kept;
}

/** Nothing is fetched from elsewhere here, and the topic says so. */
function stateOf({ ingestionDataSourceSettings }: TopicConfig): string {
  return ingestionDataSourceSettings === undefined ? 'ACTIVE' : 'INGESTION_RESOURCE_ERROR';
}
