import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy, StorageType } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { inFlight } from '../in-flight.ts';
import { payload, type QueueAt } from '../queue-client.ts';

/** The durable one of each queue. */
export const consumer = 'worker';
const unconfirmed = 1000;

export const connectTo = (port: number) => connect({ servers: `127.0.0.1:${port}` });

export async function prepare({ port, name }: QueueAt): Promise<void> {
  const connection = await connectTo(port);
  const manager = await jetstreamManager(connection);
  await manager.streams.add({
    name,
    subjects: [name],
    storage: StorageType.File,
    retention: RetentionPolicy.Workqueue,
  });
  await manager.consumers.add(name, {
    durable_name: consumer,
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 5 * unconfirmed,
  });
  await connection.close();
}

export async function produce({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const client = jetstream(await connectTo(port));
  await ready();
  await inFlight(messages, unconfirmed, () => client.publish(name, payload));
}

export async function consume({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const connection = await connectTo(port);
  const from = await jetstream(connection).consumers.get(name, consumer);
  let acked = 0;
  const all = Promise.withResolvers<void>();
  await from.consume({
    max_messages: unconfirmed,
    callback: (message) => {
      message.ack();
      if (++acked === messages) all.resolve();
    },
  });
  await ready();
  await all.promise;
  // Acks are not answered; the ping behind them is.
  await connection.flush();
}
