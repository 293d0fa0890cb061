import type { Broker, TopicConfig } from '../broker.ts';
import { badRequest } from '../broker-error.ts';
import { checkResourceName } from '../names.ts';
import type { Schemas } from '../schema/schemas.ts';
import { bounds, millisecondsOf } from '../subscription-config.ts';
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

/** google.pubsub.v1.Publisher, but for DetachSubscription. */
export function topics(broker: Broker, schemas: Schemas) {
  const shown = (config: TopicConfig): Json => ({ ...shownSettings(schemas, config), state: stateOf(config) });
  return {
    async createTopic(request: TopicConfig): Promise<Json> {
      checkResourceName('topics', request.name);
      return shown(await broker.createTopic(keptSettings(schemas, checked(request))));
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
      return shown(await broker.updateTopic(topic?.name ?? '', change));
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
      const { name, kmsKeyName, schemaSettings } = broker.topic(topic);
      if (kmsKeyName) throw notYet(`topic "${name}": encryption by a key of Cloud KMS (kmsKeyName)`);
      const complete = messages.map(({ data = '', attributes = {}, orderingKey = '' }) => ({
        data,
        attributes,
        ...(orderingKey !== '' && { orderingKey }),
      }));
      const admitted = schemaSettings ? await schemas.admit(schemaSettings, complete) : complete;
      return { messageIds: await broker.publish(topic, admitted) };
    },
  };
}

/** As it is kept. @throws BrokerError */
function checked(config: TopicConfig): TopicConfig {
  checkLabels(config.labels);
  const { tags, state, satisfiesPzs, ...kept } = config as TopicConfig & Record<string, unknown>;
  refuseNotYet('topic', { ...kept, tags });
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
