import { expect } from 'vitest';
import { until } from '../until.ts';
import { textsOf } from './pubsub.ts';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1.Subscriber.StreamingPull. Only gRPC has it. */
export const streamingPull = subject.ofGrpc('streaming pull', (fact) => {
  fact(
    'what is published arrives on an open stream, and is settled by an ack there',
    async ({ reader, stream, server }) => {
      const { publish, subscription, pull } = await reader();
      const { received, send, finish, ended } = stream({ subscription, streamAckDeadlineSeconds: 10 });
      await publish('1');
      await until('the first message', () => received.length === 1);
      send({ ackIds: [received[0]!.ackId] });
      await publish('2');
      await until('the second', () => received.length === 2);
      expect(textsOf(received)).toEqual(['1', '2']);
      send({ ackIds: [received[1]!.ackId] });
      finish();
      expect(await ended).toBeUndefined();
      await server.pass(11_000);
      expect(await pull()).toEqual([]);
    },
  );

  fact('what was there before comes too', async ({ reader, stream }) => {
    const { publish, subscription } = await reader();
    await publish('1', '2', '3');
    const { received } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    await until('all three', () => received.length === 3);
  });

  fact('no more is sent than may be outstanding', { gap: 28 }, async ({ reader, stream }) => {
    const { publish, subscription, take } = await reader();
    const opening = { subscription, streamAckDeadlineSeconds: 60, maxOutstandingMessages: '2' };
    const { received, send } = stream(opening);
    await publish('1', '2', '3', '4', '5');
    await until('as many as may be outstanding', () => received.length === 2);
    // What is at its limit leases nothing, so the rest is there for others.
    const rest = await take(2);
    send({ ackIds: [received[0]!.ackId] });
    await until('one more for the one that was acked', () => received.length === 3);
    expect(textsOf([...received, ...rest]).toSorted()).toEqual(['1', '2', '3', '4', '5']);
  });

  fact('a deadline of zero on the stream is a nack', async ({ reader, stream }) => {
    const { publish, subscription } = await reader();
    const { received, send } = stream({ subscription, streamAckDeadlineSeconds: 60 });
    await publish('1');
    await until('the message', () => received.length === 1);
    send({ modifyDeadlineAckIds: [received[0]!.ackId], modifyDeadlineSeconds: [0] });
    await until('the message again', () => received.length === 2);
    expect(textsOf(received)).toEqual(['1', '1']);
  });

  fact('the deadline of a stream is its own, not the subscription’s', async ({ reader, stream, server }) => {
    const { publish, subscription } = await reader({ ackDeadlineSeconds: 600 });
    const { received } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    await publish('1');
    await until('the message', () => received.length === 1);
    await server.pass(10_500);
    await until('the message again', () => received.length === 2);
  });

  fact('a stream that only keeps alive is as it was', async ({ reader, stream }) => {
    const { publish, subscription } = await reader();
    const { received, send } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    for (let index = 0; index < 3; index++) send({});
    await publish('1');
    await until('the message', () => received.length === 1);
  });

  fact('acks beside the stream count as those on it', async ({ reader, stream, call, server }) => {
    const { publish, subscription } = await reader();
    const { received } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    await publish('1');
    await until('the message', () => received.length === 1);
    await call('Acknowledge', { subscription, ackIds: [received[0]!.ackId] });
    await server.pass(11_000);
    await publish('2');
    await until('the next', () => textsOf(received).includes('2'));
    expect(textsOf(received)).toEqual(['1', '2']);
  });

  for (const [what, first, next, status] of [
    ['names no subscription', { streamAckDeadlineSeconds: 10 }, undefined, 'INVALID_ARGUMENT'],
    ['says no deadline', { streamAckDeadlineSeconds: 0 }, undefined, 'INVALID_ARGUMENT'],
    ['has a deadline of 9 s', { streamAckDeadlineSeconds: 9 }, undefined, 'INVALID_ARGUMENT'],
    ['has a deadline of 601 s', { streamAckDeadlineSeconds: 601 }, undefined, 'INVALID_ARGUMENT'],
    ['acks what is no ack id', {}, { ackIds: ['nonsense'] }, 'INVALID_ARGUMENT'],
    ['has ids without seconds', {}, { modifyDeadlineAckIds: ['a'] }, 'INVALID_ARGUMENT'],
    ['has a negative deadline', {}, { modifyDeadlineAckIds: ['a'], modifyDeadlineSeconds: [-1] }, 'INVALID_ARGUMENT'],
  ] as const) {
    fact(`a stream that ${what} is ended`, async ({ reader, stream }) => {
      const named = what === 'names no subscription' ? {} : { subscription: (await reader()).subscription };
      const { ended } = stream({ streamAckDeadlineSeconds: 10, ...named, ...first }, ...(next ? [next] : []));
      expect(await ended).toMatchObject({ status });
    });
  }

  fact('a stream that sets its limit later is ended', { gap: 38 }, async ({ reader, stream }) => {
    const { subscription } = await reader();
    const { ended } = stream({ subscription, streamAckDeadlineSeconds: 10 }, { maxOutstandingMessages: '5' });
    expect(await ended).toMatchObject({ status: 'INVALID_ARGUMENT' });
  });

  fact('a stream for a subscription that is not there is ended', async ({ name, stream }) => {
    const { ended } = stream({ subscription: name('subscriptions'), streamAckDeadlineSeconds: 10 });
    expect(await ended).toMatchObject({ status: 'NOT_FOUND' });
  });

  fact('a stream ends with its subscription', async ({ reader, stream, call }) => {
    const { publish, subscription } = await reader();
    const { received, ended } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    await publish('1');
    await until('the message', () => received.length === 1);
    await call('DeleteSubscription', { subscription });
    expect(await ended).toMatchObject({ status: 'NOT_FOUND' });
  });

  fact('a stream ends where its subscription is detached', { gap: 12 }, async ({ reader, stream, call }) => {
    const { publish, subscription } = await reader();
    const { received, ended } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    await publish('1');
    await until('the message', () => received.length === 1);
    await call('DetachSubscription', { subscription });
    expect(await ended).toMatchObject({ status: 'FAILED_PRECONDITION' });
  });

  fact(
    'what an ended stream had not settled comes to others after its deadline',
    async ({ reader, stream, server }) => {
      const { publish, subscription, take } = await reader({ ackDeadlineSeconds: 600 });
      const { received, finish } = stream({ subscription, streamAckDeadlineSeconds: 10 });
      await publish('1');
      await until('the message', () => received.length === 1);
      finish();
      await server.pass(10_500);
      expect(textsOf(await take())).toEqual(['1']);
    },
  );
});
