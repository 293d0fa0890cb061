import { expect, test } from 'vitest';
import { Broker } from './broker.ts';
import { Bench, reader, topic } from './broker-bench.ts';
import { Database } from './database.ts';

const exactly = { enableExactlyOnceDelivery: true, retryPolicy: { minimumBackoff: '0s', maximumBackoff: '1s' } };

async function lease(bench: Bench, max = 100) {
  const leases = bench.broker.deliveries.lease(bench.subscription, max);
  await leases[0]?.written;
  return leases.map(({ message, attempt }) => ({ position: message.position, attempt }));
}

test('an acked message never comes back, also over a restart right after the answer', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1', '2', '3');
  const [one, two, three] = await lease(bench);
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [two!])).toEqual([]);
  await bench.reopen();
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [one!, two!, three!])).toEqual([two]);
  bench.clock.pass(700_000);
  await bench.database.write(() => {});
  expect(bench.lease()).toEqual([]);
});

test('a lease outlasts a restart: nobody else gets the message, and whoever had it may ack, extend and nack it', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1', '2', '3');
  const [one, two, three] = await lease(bench);
  await bench.reopen();
  expect(bench.lease()).toEqual([]);
  expect(await bench.broker.deliveries.extendExactly(bench.subscription, [one!], 60_000)).toEqual([]);
  expect(await bench.broker.deliveries.nackExactly(bench.subscription, [two!])).toEqual([]);
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [three!])).toEqual([]);
  expect(bench.lease()).toMatchObject([{ text: '2', attempt: 2 }]);
  await bench.database.write(() => {});
  await bench.reopen();
  bench.clock.pass(59_000);
  await bench.database.write(() => {});
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [one!])).toEqual([]);
});

test('after an expiry only the latest delivery may ack', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1');
  const [first] = await lease(bench);
  bench.clock.pass(10_000);
  await expect.poll(() => bench.subscription.leases.size).toBe(0);
  const [second] = await lease(bench);
  expect(second).toEqual({ ...first, attempt: 2 });
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [first!])).toEqual([first]);
  expect(await bench.broker.deliveries.extendExactly(bench.subscription, [first!], 60_000)).toEqual([first]);
  expect(await bench.broker.deliveries.nackExactly(bench.subscription, [first!])).toEqual([first]);
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [second!])).toEqual([]);
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [second!])).toEqual([second]);
});

test('nobody sees a message before its lease is on disk, and an ack is answered after it is', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1');
  await bench.close();
  const syncs: (() => void)[] = [];
  bench.database = new Database(bench.path, { sync: () => new Promise((resolve) => syncs.push(resolve)) });
  bench.broker = new Broker(bench.database, bench.clock);
  const seen: string[] = [];
  const [one] = bench.broker.deliveries.lease(bench.subscription, 1);
  void one!.written!.then(() => seen.push('leased'));
  await expect.poll(() => syncs.length).toBe(1);
  expect(seen).toEqual([]);
  syncs.shift()!();
  await expect.poll(() => seen).toEqual(['leased']);
  const acked = bench.broker.deliveries.ackExactly(bench.subscription, [
    { position: one!.message.position, attempt: 1 },
  ]);
  void acked.then(() => seen.push('acked'));
  await expect.poll(() => syncs.length).toBe(1);
  expect(seen).toEqual(['leased']);
  syncs.shift()!();
  expect(await acked).toEqual([]);
});

test('where the disk refuses an ack, the lease stands and may be acked again', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1');
  const [one] = await lease(bench);
  bench.database.prepare('PRAGMA query_only = ON').get();
  await expect(bench.broker.deliveries.ackExactly(bench.subscription, [one!])).rejects.toThrow(
    /readonly|cannot be opened/,
  );
  bench.database.prepare('PRAGMA query_only = OFF').get();
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [one!])).toEqual([]);
  await bench.reopen();
  expect(bench.lease()).toEqual([]);
});

test('a subscription that becomes exactly-once, or ceases to be, loses nothing', async () => {
  const bench = await new Bench().create({ ...exactly, enableExactlyOnceDelivery: false });
  await bench.publish('1', '2', '3');
  bench.lease(1);
  await bench.broker.updateSubscription(reader, (config) => ({ ...config, enableExactlyOnceDelivery: true }));
  const [two] = await lease(bench, 1);
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [two!])).toEqual([]);
  await lease(bench, 1);
  await bench.broker.updateSubscription(reader, (config) => ({ ...config, enableExactlyOnceDelivery: false }));
  await bench.reopen();
  expect(
    bench
      .lease()
      .map(({ text }) => text)
      .toSorted(),
  ).toEqual(['1', '3']);
});

test('what was acked ahead of a key that fails does not come back', async () => {
  const bench = await new Bench().create({ ...exactly, enableMessageOrdering: true });
  const messages = ['a1', 'a2'].map((data) => ({ data: btoa(data), attributes: {}, orderingKey: 'a' }));
  await bench.broker.publish(topic, messages);
  const leases = bench.broker.deliveries.lease(bench.subscription, 10, 10_000, { runs: true });
  expect(leases.map(({ message }) => atob(message.data))).toEqual(['a1']);
});
