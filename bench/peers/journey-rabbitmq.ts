import amqp from 'amqplib';
import { Arrivals } from '../arrivals.ts';
import { type Engine, type EngineAt, note, stops } from '../journey-client.ts';
import { prepare } from './rabbitmq.ts';

const unacked = 100;

/** A stop is a message of a quorum queue; the next is published, and confirmed, before it is acked. No state. */
export const rabbitmq = {
  async open({ port, name }: EngineAt): Promise<Engine> {
    await prepare({ port, name });
    const connection = await amqp.connect(`amqp://127.0.0.1:${port}`, { noDelay: true });
    const channel = await connection.createConfirmChannel();
    await channel.prefetch(unacked);
    const arrivals = new Arrivals();
    const send = (id: string, stop: number, note: string) =>
      new Promise<void>((resolve, reject) => {
        const content = Buffer.from(JSON.stringify({ id, stop, note }));
        channel.sendToQueue(name, content, { persistent: true }, (error) => (error ? reject(error) : resolve()));
      });
    await channel.consume(name, async (message) => {
      const { id, stop, note } = JSON.parse(message!.content.toString());
      if (stop < stops) await send(id, stop + 1, note);
      channel.ack(message!);
      if (stop === stops) arrivals.arrive(id);
    });
    return {
      travel: (id) => arrivals.of(id, () => send(id, 1, note)),
      async close() {
        await channel.close();
        await connection.close();
      },
    };
  },
};
