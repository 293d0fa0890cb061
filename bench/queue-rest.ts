import { PubsubRest } from './pubsub-rest.ts';
import { payload, type QueueAt } from './queue-client.ts';

const topicOf = (name: string) => `projects/bench/topics/${name}`;
const subscriptionOf = (name: string) => `projects/bench/subscriptions/${name}`;
const batch = 100;
const publishing = 8;
const pulling = 4;
/** What the server gives at most. */
const mostPulled = 1000;

export async function prepare({ port, name }: QueueAt): Promise<void> {
  await new PubsubRest(port, 1).create(topicOf(name), subscriptionOf(name));
}

export async function produce({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const rest = new PubsubRest(port, publishing);
  await ready();
  await rest.publishAll(topicOf(name), messages, { batch, bytes: payload.length });
}

export async function consume({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const rest = new PubsubRest(port, pulling);
  await ready();
  let acked = 0;
  const all = Promise.withResolvers<void>();
  const worker = async () => {
    for (;;) {
      const received = await rest.pull(subscriptionOf(name), mostPulled);
      if (received.length === 0) continue;
      await rest.acknowledge(subscriptionOf(name), received);
      acked += received.length;
      if (acked >= messages) all.resolve();
    }
  };
  for (let n = 0; n < pulling; n++) worker().catch(all.reject);
  // Pulls that wait for more go with the process.
  await all.promise;
}
