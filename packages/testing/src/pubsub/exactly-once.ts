import { expect } from 'vitest';
import type { Json, WireError } from '../pubsub-wire.ts';
import { until } from '../until.ts';
import { subject } from './subject.ts';

const exactlyOnce = { enableExactlyOnceDelivery: true };

const failureOf = (error: WireError) => ({ status: error.status, details: error.details });

/** What says which ack ids were not good. Source: https://cloud.google.com/pubsub/docs/exactly-once-delivery */
const failed = (...ackIds: readonly string[]) => ({
  status: 'INVALID_ARGUMENT',
  details: [
    {
      '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
      reason: 'EXACTLY_ONCE_ACKID_FAILURE',
      domain: 'pubsub.googleapis.com',
      metadata: Object.fromEntries(ackIds.map((ackId) => [ackId, 'PERMANENT_FAILURE_INVALID_ACK_ID'])),
    },
  ],
});

export const exactlyOnceDelivery = subject('exactly-once delivery', (fact, target) => {
  fact('an ack that was answered is for good', async ({ reader, server }) => {
    const { publish, next, pull, config } = await reader(exactlyOnce);
    expect(await config()).toMatchObject(exactlyOnce);
    await publish('1');
    expect(await next()).toBe('1');
    await server.pass(11_000);
    expect(await pull()).toEqual([]);
  });

  fact('once a message has come again, only its latest ack id is good', async ({ reader, refuses, call }) => {
    const { publish, take, nack, subscription } = await reader(exactlyOnce);
    await publish('1');
    const [old] = await take();
    await nack(old!);
    const [latest] = await take();
    const ackIds = [old!.ackId];
    expect(failureOf(await refuses('Acknowledge', { subscription, ackIds }, 'INVALID_ARGUMENT'))).toEqual(
      failed(old!.ackId),
    );
    const extended = { subscription, ackIds, ackDeadlineSeconds: 60 };
    expect(failureOf(await refuses('ModifyAckDeadline', extended, 'INVALID_ARGUMENT'))).toEqual(failed(old!.ackId));
    await call('Acknowledge', { subscription, ackIds: [latest!.ackId] });
  });

  fact(
    'an ack after the deadline fails, and the message comes again',
    { gap: 39 },
    async ({ reader, server, refuses }) => {
      const { publish, take, extend, next, subscription } = await reader(exactlyOnce);
      await publish('1');
      const [late] = await take();
      await extend(1, late!);
      await server.pass(1_500);
      const refused = await refuses('Acknowledge', { subscription, ackIds: [late!.ackId] }, 'INVALID_ARGUMENT');
      expect(failureOf(refused)).toEqual(failed(late!.ackId));
      expect(await next()).toBe('1');
    },
  );

  fact('of several acks in a request those that are good count', async ({ reader, refuses, server }) => {
    const { publish, take, nack, ack, pull, subscription } = await reader(exactlyOnce);
    await publish('1', '2');
    const [one, other] = await take(2);
    await nack(other!);
    const [again] = await take();
    const ackIds = [one!.ackId, other!.ackId];
    expect(failureOf(await refuses('Acknowledge', { subscription, ackIds }, 'INVALID_ARGUMENT'))).toEqual(
      failed(other!.ackId),
    );
    await ack(again!);
    await server.pass(11_000);
    expect(await pull()).toEqual([]);
  });

  fact('a message is not offered while its deadline is put off', async ({ reader, server }) => {
    const { publish, take, extend, ack, pull } = await reader(exactlyOnce);
    await publish('1');
    const [received] = await take();
    await extend(20, received!);
    await server.pass(11_000);
    expect(await pull()).toEqual([]);
    await ack(received!);
  });

  fact('it can be switched on and off', async ({ reader, refuses }) => {
    const { publish, take, ack, nack, update, config, subscription } = await reader();
    await update(exactlyOnce, 'enable_exactly_once_delivery');
    expect(await config()).toMatchObject(exactlyOnce);
    await publish('1');
    const [old] = await take();
    await nack(old!);
    const [latest] = await take();
    await refuses('Acknowledge', { subscription, ackIds: [old!.ackId] }, 'INVALID_ARGUMENT');
    await update({}, 'enable_exactly_once_delivery');
    await ack(old!);
    await ack(latest!);
  });

  if (!target.isGrpc) return;

  fact('a stream says what it is, and confirms each ack and deadline', { gap: 27 }, async ({ reader, stream }) => {
    const { publish, subscription } = await reader(exactlyOnce);
    const { received, responses, send } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    await publish('1');
    await until('the message', () => received.length === 1);
    expect(responses.find(({ receivedMessages }) => receivedMessages)).toMatchObject({
      subscriptionProperties: { exactlyOnceDeliveryEnabled: true },
    });
    const { ackId } = received[0]!;
    const confirmed = (field: string) =>
      until(field, () => responses.map((response) => response[field] as Json).find((each) => each));
    send({ modifyDeadlineAckIds: [ackId], modifyDeadlineSeconds: [0] });
    expect(await confirmed('modifyAckDeadlineConfirmation')).toMatchObject({ ackIds: [ackId] });
    await until('the message again', () => received.length === 2);
    send({ ackIds: [ackId, received[1]!.ackId] });
    expect(await confirmed('acknowledgeConfirmation')).toMatchObject({
      ackIds: [received[1]!.ackId],
      invalidAckIds: [ackId],
    });
  });
});
