import { type JsMsg, jetstream } from '@nats-io/jetstream';
import { Arrivals } from '../arrivals.ts';
import { type Engine, type EngineAt, note, stops } from '../journey-client.ts';
import { connectTo, consumer, prepare } from './nats.ts';

/** A stop is a message of a work queue; the next is published, and confirmed, before it is acked. No state. */
export const nats = {
  async open({ port, name }: EngineAt): Promise<Engine> {
    await prepare({ port, name });
    const connection = await connectTo(port);
    const client = jetstream(connection);
    const arrivals = new Arrivals();
    const reach = async (message: JsMsg) => {
      const { id, stop, note } = message.json<{ id: string; stop: number; note: string }>();
      if (stop < stops) await client.publish(name, JSON.stringify({ id, stop: stop + 1, note }));
      message.ack();
      if (stop === stops) arrivals.arrive(id);
    };
    const guide = await client.consumers.get(name, consumer);
    const messages = await guide.consume({ callback: (message) => void reach(message) });
    return {
      travel: (id) => arrivals.of(id, () => client.publish(name, JSON.stringify({ id, stop: 1, note }))),
      async close() {
        await messages.close();
        await connection.drain();
      },
    };
  },
};
