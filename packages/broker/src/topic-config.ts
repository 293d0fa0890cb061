import type { SchemaSettings } from './schema/schemas.ts';
import type { MessageTransform } from './transform/message-transform.ts';

/** google.pubsub.v1 Topic: what acts here, and what is only kept. */
export interface TopicConfig {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** How long every message is kept, whoever acked it. */
  readonly messageRetentionDuration?: string;
  readonly kmsKeyName?: string;
  readonly ingestionDataSourceSettings?: unknown;
  readonly schemaSettings?: SchemaSettings;
  readonly messageTransforms?: readonly MessageTransform[];
}

/** What a subscription has for a topic that was deleted. Source: google.pubsub.v1 Subscription.topic. */
export const deletedTopic = '_deleted-topic_';
