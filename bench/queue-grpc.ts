import { PubSub } from '@google-cloud/pubsub';
import { inFlight } from './in-flight.ts';
import { payload, type QueueAt } from './queue-client.ts';

// The client looks for a machine of Google's otherwise.
process.env.METADATA_SERVER_DETECTION = 'none';

const unconfirmed = 1000;

function clientOf(port: number): PubSub {
  return new PubSub({ projectId: 'bench', apiEndpoint: `127.0.0.1:${port}` });
}

export async function prepare({ port, name }: QueueAt): Promise<void> {
  const client = clientOf(port);
  const [topic] = await client.createTopic(name);
  await topic.createSubscription(name, { ackDeadlineSeconds: 600 });
  await client.close();
}

export async function produce({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const topic = clientOf(port).topic(name, { batching: { maxMessages: 100, maxMilliseconds: 5 } });
  await ready();
  await inFlight(messages, unconfirmed, () => topic.publishMessage({ data: payload }));
}

export async function consume({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const subscription = clientOf(port).subscription(name, {
    flowControl: { maxMessages: 5 * unconfirmed },
    batching: { maxMilliseconds: 10 },
  });
  const received = new Set<string>();
  const all = Promise.withResolvers<void>();
  subscription.on('error', all.reject).on('message', (message) => {
    message.ack();
    received.add(message.id);
    if (received.size >= messages) all.resolve();
  });
  await ready();
  await all.promise;
  // Sends the acks that are still with the client.
  await subscription.close();
}
