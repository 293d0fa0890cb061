import { expect, test } from 'vitest';
import { Bench, reader, topic } from '../broker-bench.ts';
import type { BrokerError } from '../broker-error.ts';
import type { Json } from '../wire/json.ts';
import { StreamingPull } from './streaming-pull.ts';

const first = { subscription: reader, streamAckDeadlineSeconds: 10 };

interface Stream {
  readonly pull: StreamingPull;
  readonly received: { readonly ackId: string }[];
  readonly ended: Promise<BrokerError>;
}

/** @param takes whether the caller takes more after a response */
function open(bench: Bench, takes = true): Stream {
  const received: { ackId: string }[] = [];
  const { promise: ended, resolve: end } = Promise.withResolvers<BrokerError>();
  const send = ({ receivedMessages = [] }: Json) => {
    received.push(...(receivedMessages as { ackId: string }[]));
    return takes;
  };
  return { pull: new StreamingPull(bench.broker, { send, end }), received, ended };
}

async function publish(bench: Bench, count: number): Promise<void> {
  const messages = Array.from({ length: count }, (_, n) => ({ data: btoa(`${n}`), attributes: {} }));
  await bench.broker.publish(topic, messages);
}

test('a caller that takes no more is leased no more, also where leases are written down first', async () => {
  const bench = await new Bench().create({ enableExactlyOnceDelivery: true });
  for (let n = 0; n < 5; n++) await publish(bench, 1_000);
  const { pull, received } = open(bench, false);
  await pull.receive(first);
  await expect.poll(() => received.length).toBeGreaterThan(0);
  expect(bench.subscription.leases.size).toBeLessThanOrEqual(1_600);
  pull.close();
});

test('where leases are written down first, a stream brings all there is', async () => {
  const bench = await new Bench().create({ enableExactlyOnceDelivery: true });
  for (let n = 0; n < 3; n++) await publish(bench, 1_000);
  const { pull, received } = open(bench);
  await pull.receive(first);
  await expect.poll(() => received.length).toBe(3_000);
  pull.close();
});

test('what comes again behind a failure of its key has ack ids of its own', async () => {
  const bench = await new Bench().create({ enableMessageOrdering: true });
  const messages = ['1', '2', '3'].map((text) => ({ data: btoa(text), attributes: {}, orderingKey: 'k' }));
  await bench.broker.publish(topic, messages);
  const { pull, received } = open(bench);
  await pull.receive(first);
  await expect.poll(() => received.length).toBe(3);
  await pull.receive({ modifyDeadlineAckIds: [received[0]!.ackId], modifyDeadlineSeconds: [0] });
  await expect.poll(() => received.length).toBe(6);
  expect(new Set(received.map(({ ackId }) => ackId)).size).toBe(6);
  pull.close();
});

test('a disk that takes no leases, or no acks, ends the stream as unavailable', async () => {
  const bench = await new Bench().create({ enableExactlyOnceDelivery: true });
  await publish(bench, 1);
  const acking = open(bench);
  await acking.pull.receive(first);
  await expect.poll(() => acking.received.length).toBe(1);
  bench.database.prepare('PRAGMA query_only = ON').get();
  await acking.pull.receive({ ackIds: [acking.received[0]!.ackId] });
  expect(await acking.ended).toMatchObject({ status: 'UNAVAILABLE' });

  bench.database.prepare('PRAGMA query_only = OFF').get();
  await publish(bench, 1);
  bench.database.prepare('PRAGMA query_only = ON').get();
  const leasing = open(bench);
  await leasing.pull.receive(first);
  expect(await leasing.ended).toMatchObject({ status: 'UNAVAILABLE' });
  expect(leasing.received).toEqual([]);
  bench.database.prepare('PRAGMA query_only = OFF').get();
  expect(bench.lease()).toHaveLength(1);
});
