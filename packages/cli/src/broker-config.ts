import { readFileSync } from 'node:fs';
import { UsageError } from './usage-error.ts';

/** A topic or subscription as Pub/Sub's REST takes it, its name short or in full. */
export interface Declared {
  readonly name: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface BrokerConfig {
  readonly topics: readonly Declared[];
  /** Each with its topic among its fields. */
  readonly subscriptions: readonly Declared[];
}

/**
 * Topics to make at start:
 * `{"project": "shop", "topics": [{"name": "orders", "subscriptions": [{"name": "billing", "ackDeadlineSeconds": 30}]}]}`.
 * Fields are those of google.pubsub.v1 in JSON; the broker itself checks them.
 * @throws UsageError naming the file and the place
 */
export function readBrokerConfig(path: string, project: string): BrokerConfig {
  const told = (what: string) => new UsageError(`${path}: ${what}`);
  let config: unknown;
  try {
    config = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw told(`cannot be read: ${(error as Error).message}`);
  }
  const object = (value: unknown, where: string): Record<string, unknown> => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw told(`${where} must be an object`);
  };
  const list = (value: unknown, where: string): Record<string, unknown>[] => {
    if (!Array.isArray(value)) throw told(`${where} must be a list`);
    return value.map((each, index) => object(each, `${where}[${index}]`));
  };
  const { topics, project: named = project, ...others } = object(config, 'the config');
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) throw told(`there is no setting "${unknown}"; there are project and topics`);
  if (typeof named !== 'string' || !/^[^/]+$/.test(named)) throw told('project must be the name of a project');
  const fullName = (kind: string, name: unknown, where: string) => {
    if (typeof name !== 'string' || name === '') throw told(`${where} needs a name`);
    return name.includes('/') ? name : `projects/${named}/${kind}/${name}`;
  };
  const subscriptions: Declared[] = [];
  const declared = list(topics ?? [], 'topics').map(({ name, subscriptions: ofTopic, ...fields }, index) => {
    const topic = fullName('topics', name, `topics[${index}]`);
    const where = `topics[${index}].subscriptions`;
    for (const [place, { name, ...fields }] of list(ofTopic ?? [], where).entries()) {
      subscriptions.push({
        name: fullName('subscriptions', name, `${where}[${place}]`),
        fields: { ...fields, topic },
      });
    }
    return { name: topic, fields };
  });
  return { topics: declared, subscriptions };
}
