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

async function publishKeyed(bench: Bench, ...texts: string[]): Promise<void> {
  const messages = texts.map((text) => ({ data: btoa(text), attributes: {}, orderingKey: 'a' }));
  await bench.broker.publish(topic, messages);
}

async function keyed(...texts: string[]): Promise<Bench> {
  const bench = await new Bench().create({ ...exactly, enableMessageOrdering: true });
  await publishKeyed(bench, ...texts);
  return bench;
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
  const bench = await keyed('a1', 'a2');
  const leases = bench.broker.deliveries.lease(bench.subscription, 10, 10_000, { runs: true });
  expect(leases.map(({ message }) => atob(message.data))).toEqual(['a1']);
});

test('the next of a key is not lost in a crash after the ack of the one before it', async () => {
  const bench = await keyed('a1', 'a2', 'a3');
  const [a1] = await lease(bench);
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [a1!])).toEqual([]);
  await bench.reopen();
  expect(bench.lease().map(({ text }) => text)).toEqual(['a2']);
});

test('an extension that meets a nack in one write loses no message', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1');
  const [one] = await lease(bench);
  const [, gone] = await Promise.all([
    bench.broker.deliveries.nackExactly(bench.subscription, [one!]),
    bench.broker.deliveries.extendExactly(bench.subscription, [one!], 60_000),
  ]);
  expect(gone).toEqual([one]);
  expect(bench.lease()).toMatchObject([{ text: '1', attempt: 2 }]);
});

test('an ack that meets a nack in one write is told that its lease is gone, and its key goes on', async () => {
  const bench = await keyed('a1', 'a2');
  const [one] = await lease(bench);
  const [, gone] = await Promise.all([
    bench.broker.deliveries.nackExactly(bench.subscription, [one!]),
    bench.broker.deliveries.ackExactly(bench.subscription, [one!]),
  ]);
  expect(gone).toEqual([one]);
  expect(bench.lease()).toMatchObject([{ text: 'a1', attempt: 2 }]);
});

test('an extension in the moment of expiry is refused or holds', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1', '2');
  const [one, two] = await lease(bench);
  bench.clock.pass(9_999);
  const before = bench.broker.deliveries.extendExactly(bench.subscription, [one!], 60_000);
  // In the same write as the expiry that comes now, and before it.
  await new Promise(setImmediate);
  const late = bench.broker.deliveries.extendExactly(bench.subscription, [two!], 60_000);
  bench.clock.pass(1);
  expect(await before).toEqual([]);
  expect(await late).toEqual([two]);
  await bench.database.write(() => {});
  expect(bench.lease()).toMatchObject([{ text: '2', attempt: 2 }]);
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [one!])).toEqual([]);
});

test('a lease that a seek ends while it is being written is shown to nobody', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1');
  const sought = bench.broker.seeks.toTime(reader, 0);
  const pulled = bench.broker.deliveries.leaseOrWait(bench.subscription, 1, 0, undefined);
  expect(await pulled).toEqual([]);
  await sought;
  expect(bench.lease()).toHaveLength(1);
});

test('an extension brings no lease back that a seek has ended', async () => {
  const bench = await new Bench().create(exactly);
  await bench.publish('1');
  const [one] = await lease(bench);
  const [, gone] = await Promise.all([
    bench.broker.seeks.toTime(reader, bench.clock.now() + 1_000),
    bench.broker.deliveries.extendExactly(bench.subscription, [one!], 60_000),
  ]);
  expect(gone).toEqual([one]);
  expect(bench.subscription.leases.size).toBe(0);
});

test('what a stream has of a key when its subscription becomes exactly-once comes in order, and nothing acked again', async () => {
  const bench = await new Bench().create({ ...exactly, enableExactlyOnceDelivery: false, enableMessageOrdering: true });
  await publishKeyed(bench, 'a1', 'a2', 'a3', 'a4');
  const leases = bench.broker.deliveries.lease(bench.subscription, 3, 10_000, { runs: true });
  const [a1, a2, a3] = leases.map(({ message, attempt }) => ({ position: message.position, attempt }));
  await bench.broker.updateSubscription(reader, (config) => ({ ...config, enableExactlyOnceDelivery: true }));
  expect(await bench.broker.deliveries.ackExactly(bench.subscription, [a2!])).toEqual([]);
  expect(await bench.broker.deliveries.extendExactly(bench.subscription, [a3!], 60_000)).toEqual([]);
  await bench.broker.deliveries.nackExactly(bench.subscription, [a1!]);
  const seen: string[] = [];
  for (let n = 0; n < 4; n++) {
    const leased = bench.lease();
    seen.push(...leased.map(({ text }) => text));
    await bench.broker.deliveries.ackExactly(bench.subscription, leased);
    bench.clock.pass(1_000);
  }
  expect(seen).toEqual(['a1', 'a3', 'a4']);
});
