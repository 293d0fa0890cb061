import { inFlight } from './in-flight.ts';
import { batchOf, PubsubRest } from './pubsub-rest.ts';
import { payload, type QueueAt } from './queue-client.ts';

export { consume, prepare } from './queue-rest.ts';

const connections = 64;

/** One message a request. */
export async function produce({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const rest = new PubsubRest(port, connections);
  const body = batchOf(1, payload.length);
  await ready();
  await inFlight(messages, connections, () => rest.publish(`projects/bench/topics/${name}`, body));
}
