import { expect } from 'vitest';
import { until } from '../until.ts';
import { base64, textOf, textsOf } from './pubsub.ts';
import { subject } from './subject.ts';

const ordered = { enableMessageOrdering: true };

/** Source: https://cloud.google.com/pubsub/docs/ordering */
export const ordering = subject('ordering', (fact, target) => {
  fact('messages of a key come in the order they were published in', async ({ reader }) => {
    const { publishInOrder, next, config } = await reader(ordered);
    expect(await config()).toMatchObject(ordered);
    const texts = Array.from({ length: 10 }, (_, index) => String(index));
    await publishInOrder('k', ...texts);
    for (const text of texts) expect(await next()).toBe(text);
  });

  fact('messages of one publish come in their order', async ({ reader }) => {
    const { publish, next } = await reader(ordered);
    const texts = Array.from({ length: 10 }, (_, index) => String(index));
    await publish(...texts.map((text) => ({ data: base64(text), orderingKey: 'k' })));
    for (const text of texts) expect(await next()).toBe(text);
  });

  fact('a nacked message comes before the later ones of its key', { gap: 3 }, async ({ reader }) => {
    const { publishInOrder, take, nack, next } = await reader(ordered);
    await publishInOrder('k', '1', '2', '3');
    const [first] = await take();
    await nack(first!);
    for (const text of ['1', '2', '3']) expect(await next()).toBe(text);
  });

  fact('so does one whose deadline has passed', { gap: 3 }, async ({ reader, server }) => {
    const { publishInOrder, take, extend, next } = await reader(ordered);
    await publishInOrder('k', '1', '2');
    const [first] = await take();
    await extend(1, first!);
    await server.pass(1_500);
    for (const text of ['1', '2']) expect(await next()).toBe(text);
  });

  fact('a key waits for the backoff of its message, and no other key does', { gap: [3, 5] }, async (pubsub) => {
    const reader = await pubsub.reader({ ...ordered, retryPolicy: { minimumBackoff: '300s' } });
    const { publishInOrder, take, nack, pull, next } = reader;
    await publishInOrder('k', '1', '2');
    await nack(...(await take()));
    await publishInOrder('l', 'other');
    expect(await next()).toBe('other');
    await pubsub.server.pass(280_000);
    expect(await pull()).toEqual([]);
    await pubsub.server.pass(21_000);
    for (const text of ['1', '2']) expect(await next()).toBe(text);
  });

  fact('a pull gives one message of each key, and the next when that is settled', { gap: 4 }, async ({ reader }) => {
    const { publishInOrder, pull, ack } = await reader(ordered);
    await publishInOrder('k', 'k1', 'k2');
    await publishInOrder('l', 'l1', 'l2');
    const pulled = await pull();
    expect(textsOf(pulled).toSorted()).toEqual(['k1', 'l1']);
    expect(await pull()).toEqual([]);
    await ack(pulled.find((each) => textOf(each) === 'k1')!);
    await until('the next of the key', async () => textsOf(await pull()).includes('k2'));
  });

  fact('messages without a key are not ordered, and wait for none', async ({ reader }) => {
    const { publish, publishInOrder, take, next } = await reader(ordered);
    await publishInOrder('k', 'held');
    await take();
    await publish('1', '2', '3');
    expect([await next(), await next(), await next()].toSorted()).toEqual(['1', '2', '3']);
  });

  fact('a subscription that is not ordered gives all of a key at once', async ({ reader }) => {
    const { publishInOrder, take } = await reader();
    await publishInOrder('k', '1', '2', '3');
    expect(textsOf(await take(3)).toSorted()).toEqual(['1', '2', '3']);
  });

  fact('whether a subscription is ordered can not be changed', async ({ reader, refuses }) => {
    const { subscription } = await reader();
    const changed = { name: subscription, ...ordered };
    const updateMask = 'enable_message_ordering';
    await refuses('UpdateSubscription', { subscription: changed, updateMask }, 'INVALID_ARGUMENT');
  });

  if (!target.isGrpc) return;

  fact('a stream may have several of a key, in their order', async ({ reader, stream }) => {
    const { publishInOrder, subscription } = await reader(ordered);
    const texts = Array.from({ length: 20 }, (_, index) => String(index));
    await publishInOrder('k', ...texts);
    const { received, send } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    await until('all of the key', () => {
      // Where it has one at a time, the next comes when this is acked.
      if (received.length > 0) send({ ackIds: received.map(({ ackId }) => ackId) });
      return received.length === texts.length;
    });
    expect(textsOf(received)).toEqual(texts);
  });

  fact(
    'a nack on a stream brings all of the key from there on again, also what was acked',
    { gap: 3 },
    async (pubsub) => {
      const { publishInOrder, subscription } = await pubsub.reader(ordered);
      await publishInOrder('k', '1', '2', '3');
      const { received, send } = pubsub.stream({ subscription, streamAckDeadlineSeconds: 60 });
      await until('all of the key', () => received.length === 3);
      const [first, second] = received;
      send({ ackIds: [second!.ackId] });
      send({ modifyDeadlineAckIds: [first!.ackId], modifyDeadlineSeconds: [0] });
      await until('all of the key once more', () => received.length === 6);
      expect(textsOf(received)).toEqual(['1', '2', '3', '1', '2', '3']);
    },
  );
});
