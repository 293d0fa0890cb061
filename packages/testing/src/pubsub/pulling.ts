import { expect } from 'vitest';
import { base64, textsOf } from './pubsub.ts';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1.Subscriber Pull and Acknowledge. */
export const pulling = subject('pull and ack', (fact) => {
  fact('what was acked does not come again', async ({ reader, server }) => {
    const { publish, next, pull } = await reader();
    await publish('1');
    expect(await next()).toBe('1');
    await server.pass(11_000);
    expect(await pull()).toEqual([]);
  });

  fact('a leased message is not offered twice', async ({ reader }) => {
    const { publish, take, pull } = await reader();
    await publish('1');
    await take();
    expect(await pull()).toEqual([]);
  });

  fact('a pull that may wait answers when something is published', async ({ reader, call }) => {
    const { publish, subscription } = await reader();
    const waiting = call('Pull', { subscription, maxMessages: 10 });
    const [messageId] = await publish('1');
    expect(await waiting).toMatchObject({ receivedMessages: [{ message: { messageId } }] });
  });

  fact('a pull gives no more than it asks for', async ({ reader }) => {
    const { publish, pull } = await reader();
    await publish('1', '2', '3');
    expect(await pull(2)).toHaveLength(2);
    expect(await pull(2)).toHaveLength(1);
  });

  fact('a pull may give 1,000 messages', { gap: 24 }, async ({ reader }) => {
    const { publish, pull } = await reader();
    await publish(...Array.from({ length: 1000 }, () => 'x'));
    expect(await pull(5000)).toHaveLength(1000);
  });

  fact('a pull asks for one message at least', { gap: 21 }, async ({ reader, refuses }) => {
    const { subscription } = await reader();
    await refuses('Pull', { subscription, maxMessages: 0 }, 'INVALID_ARGUMENT');
    await refuses('Pull', { subscription, maxMessages: -1 }, 'INVALID_ARGUMENT');
  });

  fact('acks out of order settle what they name and nothing else', async ({ reader }) => {
    const { publish, take, ack, nack } = await reader();
    await publish('1', '2', '3');
    const [one, two, three] = await take(3);
    await ack(three!);
    await ack(one!);
    await nack(two!);
    expect(textsOf(await take())).toEqual(textsOf([two!]));
  });

  fact('a nacked message comes again, with the id it had and another ack id', async ({ reader }) => {
    const { publish, take, nack } = await reader();
    const [messageId] = await publish('1');
    const [first] = await take();
    await nack(first!);
    const [again] = await take();
    expect(again!.message).toMatchObject({ data: base64('1'), messageId });
    expect(again!.ackId).not.toBe(first!.ackId);
  });

  fact('an ack twice is none the worse', async ({ reader }) => {
    const { publish, take, ack, pull } = await reader();
    await publish('1');
    const [received] = await take();
    await ack(received!);
    await ack(received!);
    await ack(received!, received!);
    expect(await pull()).toEqual([]);
  });

  fact('an ack names something', async ({ reader, refuses }) => {
    const { subscription } = await reader();
    await refuses('Acknowledge', { subscription, ackIds: [] }, 'INVALID_ARGUMENT');
    await refuses('ModifyAckDeadline', { subscription, ackIds: [], ackDeadlineSeconds: 10 }, 'INVALID_ARGUMENT');
  });

  fact('an ack id that is none is refused', async ({ reader, refuses }) => {
    const { subscription } = await reader();
    await refuses('Acknowledge', { subscription, ackIds: ['nonsense'] }, 'INVALID_ARGUMENT');
    const extended = { subscription, ackIds: ['nonsense'], ackDeadlineSeconds: 10 };
    await refuses('ModifyAckDeadline', extended, 'INVALID_ARGUMENT');
  });

  fact('an ack id is good for no other subscription', async ({ reader, refuses }) => {
    const one = await reader();
    const other = await reader({ topic: one.topic });
    await one.publish('1');
    const [received] = await one.take();
    await refuses('Acknowledge', { subscription: other.subscription, ackIds: [received!.ackId] }, 'INVALID_ARGUMENT');
    expect(await other.next()).toBe('1');
  });

  fact('a pull that waits ends with its subscription', { gap: 37 }, async ({ reader, call, refuses }) => {
    const { subscription } = await reader();
    const refused = refuses('Pull', { subscription, maxMessages: 10 }, 'NOT_FOUND');
    await call('DeleteSubscription', { subscription });
    await refused;
  });

  fact('readers of one subscription share what comes', async ({ reader }) => {
    const { publish, take } = await reader();
    const texts = Array.from({ length: 20 }, (_, index) => String(index));
    await publish(...texts);
    const shares = await Promise.all(Array.from({ length: 4 }, () => take(5)));
    expect(textsOf(shares.flat()).toSorted()).toEqual(texts.toSorted());
  });
});
