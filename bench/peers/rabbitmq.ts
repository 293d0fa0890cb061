import amqp from 'amqplib';
import { inFlight } from '../in-flight.ts';
import { payload, type QueueAt } from '../queue-client.ts';

const unconfirmed = 1000;

export async function prepare({ port, name }: QueueAt): Promise<void> {
  const connection = await amqp.connect(`amqp://127.0.0.1:${port}`);
  const channel = await connection.createChannel();
  await channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await connection.close();
}

export async function produce({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const connection = await amqp.connect(`amqp://127.0.0.1:${port}`);
  const channel = await connection.createConfirmChannel();
  await ready();
  await inFlight(
    messages,
    unconfirmed,
    () =>
      new Promise<void>((resolve, reject) => {
        channel.sendToQueue(name, payload, { persistent: true }, (error) => (error ? reject(error) : resolve()));
      }),
  );
}

export async function consume({ port, name }: QueueAt, messages: number, ready: () => Promise<void>): Promise<void> {
  const connection = await amqp.connect(`amqp://127.0.0.1:${port}`);
  const channel = await connection.createChannel();
  await channel.prefetch(unconfirmed);
  let acked = 0;
  const all = Promise.withResolvers<void>();
  await channel.consume(name, (message) => {
    channel.ack(message!);
    if (++acked === messages) all.resolve();
  });
  await ready();
  await all.promise;
  // Acks are not answered; the close behind them is.
  await channel.close();
}
