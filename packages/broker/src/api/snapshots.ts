import type { Broker } from '../broker.ts';
import { BrokerError } from '../broker-error.ts';
import type { Json } from '../wire/json.ts';
import { notYet } from './not-yet.ts';
import { type PageRequest, pageOf } from './page.ts';

/** Snapshots and seek. None can be made yet, so none is there. */
export function snapshots(broker: Broker) {
  const absent = (name: string) => new BrokerError('NOT_FOUND', `there is no snapshot "${name}"`);
  return {
    async createSnapshot({ subscription = '' }): Promise<Json> {
      broker.subscription(subscription);
      throw notYet('a snapshot (CreateSnapshot)');
    },

    async getSnapshot({ snapshot = '' }): Promise<Json> {
      throw absent(snapshot);
    },

    async updateSnapshot({ snapshot = { name: '' } }): Promise<Json> {
      throw absent(snapshot.name);
    },

    async deleteSnapshot({ snapshot = '' }): Promise<Json> {
      throw absent(snapshot);
    },

    async listSnapshots(request: PageRequest): Promise<Json> {
      return { snapshots: pageOf<string>([], (name) => name, request).page };
    },

    async listTopicSnapshots({ topic = '', ...request }: { topic?: string } & PageRequest): Promise<Json> {
      broker.topic(topic);
      return { snapshots: pageOf<string>([], (name) => name, request).page };
    },

    async seek({ subscription = '' }): Promise<Json> {
      broker.subscription(subscription);
      throw notYet('seeking (Seek)');
    },
  };
}
