import { expect } from 'vitest';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1 Subscription.ack_deadline_seconds and Subscriber.ModifyAckDeadline. */
export const deadlines = subject('ack deadlines', (fact) => {
  fact('a message that is not acked within the deadline comes again', async ({ reader, server }) => {
    const { publish, take, pull, next } = await reader();
    await publish('1');
    await take();
    await server.pass(5_000);
    expect(await pull()).toEqual([]);
    await server.pass(6_000);
    expect(await next()).toBe('1');
  });

  fact('the deadline is the subscription’s, also a changed one', async ({ reader, server }) => {
    const { publish, take, pull, next, update } = await reader({ ackDeadlineSeconds: 600 });
    await update({ ackDeadlineSeconds: 12 }, 'ack_deadline_seconds');
    await publish('1');
    await take();
    await server.pass(7_000);
    expect(await pull()).toEqual([]);
    await server.pass(6_000);
    expect(await next()).toBe('1');
  });

  fact('a deadline can be put off, again and again', async ({ reader, server }) => {
    const { publish, take, pull, extend, next } = await reader();
    await publish('1');
    const [received] = await take();
    await server.pass(6_000);
    await extend(10, received!);
    await server.pass(6_000);
    expect(await pull()).toEqual([]);
    await extend(3, received!);
    await server.pass(3_500);
    expect(await next()).toBe('1');
  });

  fact('a deadline can be brought nearer', async ({ reader, server }) => {
    const { publish, take, extend, next } = await reader({ ackDeadlineSeconds: 600 });
    await publish('1');
    await extend(1, ...(await take()));
    await server.pass(1_500);
    expect(await next()).toBe('1');
  });

  fact('a deadline of zero is a nack', async ({ reader }) => {
    const { publish, take, extend, next } = await reader({ ackDeadlineSeconds: 600 });
    await publish('1');
    await extend(0, ...(await take()));
    expect(await next()).toBe('1');
  });

  fact('an ack that is late is no error', async ({ reader, server }) => {
    const { publish, take, ack, extend } = await reader();
    await publish('1');
    const received = await take();
    await extend(1, ...received);
    await server.pass(1_500);
    await ack(...received);
  });

  fact('a deadline is 0 to 600 seconds', { gap: 21 }, async ({ reader, refuses }) => {
    const { publish, take, subscription } = await reader();
    await publish('1');
    const ackIds = (await take()).map(({ ackId }) => ackId);
    for (const ackDeadlineSeconds of [601, -1]) {
      await refuses('ModifyAckDeadline', { subscription, ackIds, ackDeadlineSeconds }, 'INVALID_ARGUMENT');
    }
  });

  fact('the deadline of one message is no other’s', async ({ reader, server }) => {
    const { publish, take, extend, pull } = await reader();
    await publish('1', '2');
    const [one, other] = await take(2);
    await extend(600, one!);
    await extend(1, other!);
    await server.pass(1_500);
    const [again] = await take();
    expect(again!.message.messageId).toBe(other!.message.messageId);
    expect(await pull()).toEqual([]);
  });
});
