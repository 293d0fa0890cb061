import { randomUUID } from 'node:crypto';
import type { Broker } from '../broker.ts';
import { badRequest } from '../broker-error.ts';
import { checkResourceName } from '../names.ts';
import type { Snapshot } from '../snapshots.ts';
import type { Json } from '../wire/json.ts';
import { timestampOf } from '../wire/time.ts';
import { messageType } from '../wire/wire.ts';
import { checkLabels } from './labels.ts';
import { applyMask } from './mask.ts';
import { notYet } from './not-yet.ts';
import { type PageRequest, pageOf } from './page.ts';

interface CreateSnapshotRequest {
  readonly name?: string;
  readonly subscription?: string;
  readonly labels?: Snapshot['labels'];
  readonly tags?: Json;
}

/** The part of google.pubsub.v1.Subscriber that keeps snapshots, and Seek. */
export function snapshots(broker: Broker) {
  return {
    async createSnapshot({ name: given, subscription: of = '', labels, tags }: CreateSnapshotRequest): Promise<Json> {
      const subscription = broker.subscription(of);
      // Only over gRPC: in a path there is always a name.
      const name = given || `${of.split('/subscriptions/')[0]}/snapshots/s-${randomUUID()}`;
      checkResourceName('snapshots', name);
      checkLabels(labels);
      if (Object.keys(tags ?? {}).length > 0) throw notYet(`snapshot "${name}": binding tags (tags)`);
      return { ...(await broker.snapshots.create(name, subscription, labels)) };
    },

    async getSnapshot({ snapshot = '' }): Promise<Json> {
      return { ...broker.snapshots.get(snapshot) };
    },

    async updateSnapshot({ snapshot, updateMask = '' }: { snapshot?: Snapshot; updateMask?: string }): Promise<Json> {
      const type = messageType('google.pubsub.v1.Snapshot');
      const changed = await broker.snapshots.update(snapshot?.name ?? '', (kept) => {
        const next = applyMask(type, { ...kept }, { ...snapshot }, updateMask, ['labels', 'expireTime']);
        checkLabels(next.labels as Snapshot['labels']);
        return { expireTime: kept.expireTime, ...next } as unknown as Snapshot;
      });
      return { ...changed };
    },

    async deleteSnapshot({ snapshot = '' }): Promise<Json> {
      await broker.snapshots.delete(snapshot);
      return {};
    },

    async listSnapshots({ project = '', ...request }: { project?: string } & PageRequest): Promise<Json> {
      const all = broker.snapshots.all().filter(({ name }) => name.startsWith(`${project}/`));
      const { page, ...rest } = pageOf(all, ({ name }) => name, request);
      return { snapshots: page.map((each) => ({ ...each })), ...rest };
    },

    async listTopicSnapshots({ topic = '', ...request }: { topic?: string } & PageRequest): Promise<Json> {
      broker.topic(topic);
      const names = broker.snapshots.all().flatMap((each) => (each.topic === topic ? each.name : []));
      const { page, ...rest } = pageOf(names, (name) => name, request);
      return { snapshots: page, ...rest };
    },

    async seek(request: { subscription?: string; time?: string; snapshot?: string }): Promise<Json> {
      const { subscription = '', time, snapshot } = request;
      broker.subscription(subscription);
      if (snapshot !== undefined) await broker.seeks.toSnapshot(subscription, snapshot);
      else if (time === undefined) throw badRequest('target', 'a seek needs a time or a snapshot');
      else {
        const { seconds, nanos } = timestampOf(time)!;
        await broker.seeks.toTime(subscription, Number(seconds) * 1000 + nanos / 1e6);
      }
      return {};
    },
  };
}
