import { AckPolicy, type JsMsg, jetstream, jetstreamManager, RetentionPolicy, StorageType } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { Arrivals } from '../arrivals.ts';
import { type Engine, type EngineAt, note, stops } from '../journey-client.ts';

/** A stop is a message of a work queue; the next is published, and confirmed, before it is acked. No state. */
export const nats = {
  async open({ port, name }: EngineAt): Promise<Engine> {
    const connection = await connect({ servers: `127.0.0.1:${port}` });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({
      name,
      subjects: [name],
      storage: StorageType.File,
      retention: RetentionPolicy.Workqueue,
    });
    await manager.consumers.add(name, { durable_name: 'guide', ack_policy: AckPolicy.Explicit, max_ack_pending: 1000 });
    const client = jetstream(connection);
    const arrivals = new Arrivals();
    const reach = async (message: JsMsg) => {
      const { id, stop, note } = message.json<{ id: string; stop: number; note: string }>();
      if (stop < stops) await client.publish(name, JSON.stringify({ id, stop: stop + 1, note }));
      message.ack();
      if (stop === stops) arrivals.arrive(id);
    };
    const consumer = await client.consumers.get(name, 'guide');
    const messages = await consumer.consume({
      callback: (message) => void reach(message),
    });
    return {
      travel: (id) => arrivals.of(id, () => client.publish(name, JSON.stringify({ id, stop: 1, note }))),
      async close() {
        await messages.close();
        await connection.drain();
      },
    };
  },
};
