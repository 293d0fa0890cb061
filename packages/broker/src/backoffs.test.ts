import { expect, test } from 'vitest';
import { Broker } from './broker.ts';
import { Bench, topic } from './broker-bench.ts';
import { Database } from './database.ts';

test('a retry that is given back is in line once, also when another comes back meanwhile', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '10s', maximumBackoff: '10s' } });
  await bench.publish('A', 'B');
  const [a, b] = bench.lease();
  await bench.broker.deliveries.nack(bench.subscription, [a!.position]);
  bench.clock.pass(1_000);
  await bench.broker.deliveries.nack(bench.subscription, [b!.position]);
  bench.clock.pass(9_000);
  expect(bench.lease()).toMatchObject([{ text: 'A', attempt: 2 }]);
  bench.broker.deliveries.release(bench.subscription, a!.position);
  bench.clock.pass(1_000);
  expect(bench.lease()).toMatchObject([
    { text: 'A', attempt: 2 },
    { text: 'B', attempt: 2 },
  ]);
});

test('of two nacks of one lease, the second takes no later lease with it', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '0s', maximumBackoff: '1s' } });
  await bench.publish('A');
  await bench.close();
  const syncs: (() => void)[] = [];
  const sync = () => new Promise<void>((resolve) => syncs.push(resolve));
  bench.database = new Database(bench.path, { sync });
  bench.broker = new Broker(bench.database, bench.clock);
  const [a] = bench.lease();
  const nacked = bench.broker.deliveries.nack(bench.subscription, [a!.position]);
  await expect.poll(() => syncs.length, { interval: 1 }).toBe(1);
  const again = bench.broker.deliveries.nack(bench.subscription, [a!.position]);
  // Its write runs while the first is not durable.
  await new Promise(setImmediate);
  syncs[0]!();
  await nacked;
  expect(bench.lease()).toMatchObject([{ text: 'A', attempt: 2 }]);
  await expect.poll(() => syncs.length, { interval: 1 }).toBe(2);
  syncs[1]!();
  await again;
  expect(bench.broker.deliveries.ack(bench.subscription, a!.position)).toBe(true);
  await expect.poll(() => syncs.length, { interval: 1 }).toBe(3);
  syncs[2]!();
});

test('the first retry already waits for the minimum backoff, later ones double up to the maximum', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '10s', maximumBackoff: '25s' } });
  await bench.publish('1');
  for (const backoffMs of [10_000, 20_000, 25_000, 25_000]) {
    const [leased] = bench.lease();
    await bench.broker.deliveries.nack(bench.subscription, [leased!.position]);
    bench.clock.pass(backoffMs - 1);
    expect(bench.lease()).toEqual([]);
    bench.clock.pass(1);
    expect(bench.broker.deliveries.available(bench.subscription)).toBe(true);
  }
});

test('a backoff and its count of attempts outlast a restart', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '10s' } });
  await bench.publish('1');
  const [leased] = bench.lease();
  await bench.broker.deliveries.nack(bench.subscription, [leased!.position]);
  await bench.reopen();
  expect(bench.lease()).toEqual([]);
  bench.clock.pass(10_000);
  expect(bench.lease()).toMatchObject([{ text: '1', attempt: 2 }]);
});

test('a lease that runs out is a nack', async () => {
  const bench = await new Bench().create({ ackDeadlineSeconds: 10, retryPolicy: { minimumBackoff: '0s' } });
  await bench.publish('1');
  bench.lease();
  const offered = Promise.withResolvers<void>();
  bench.broker.deliveries.onAvailable = () => offered.resolve();
  bench.clock.pass(10_000);
  await offered.promise;
  expect(bench.lease()).toMatchObject([{ text: '1', attempt: 2 }]);
});

test('a nack of one message holds up no other', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '600s' } });
  await bench.publish('poison', 'good');
  const [poison] = bench.lease(1);
  await bench.broker.deliveries.nack(bench.subscription, [poison!.position]);
  expect(bench.lease().map(({ text }) => text)).toEqual(['good']);
});

test.each([
  ['forward', 86_400_000],
  ['back', -86_400_000],
])('a clock set %s a day neither ends a lease or backoff early nor holds it up', async (_title, jumpMs) => {
  const bench = await new Bench().create();
  await bench.publish('leased', 'nacked');
  const [, nacked] = bench.lease(2);
  await bench.broker.deliveries.nack(bench.subscription, [nacked!.position]);
  bench.clock.dateOffset += jumpMs;
  bench.clock.pass(9_999);
  await bench.broker.publish(topic, [{ data: 'bGF0ZXI=', attributes: {} }]);
  expect(bench.lease().map(({ text }) => text)).toEqual(['nacked', 'later']);
  bench.clock.pass(1);
  // The expired lease is written down, and then waits out its backoff.
  await expect.poll(() => bench.subscription.leases.size).toBe(2);
  bench.clock.pass(10_000);
  expect(bench.lease().map(({ text }) => text)).toContain('leased');
});

test('a backoff that was set before the clock went back, over a restart, ends within the longest there is', async () => {
  const bench = await new Bench().create();
  await bench.publish('1');
  await bench.broker.deliveries.nack(bench.subscription, [bench.lease()[0]!.position]);
  await bench.close();
  bench.clock.dateOffset -= 86_400_000;
  bench.open();
  bench.clock.pass(600_000);
  expect(bench.lease().map(({ text }) => text)).toEqual(['1']);
});

test('an acked retry is not leased again before its ack is written down', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '0s' } });
  await bench.publish('A');
  const [first] = bench.lease();
  await bench.broker.deliveries.nack(bench.subscription, [first!.position]);
  const [again] = bench.lease();
  bench.broker.deliveries.ack(bench.subscription, again!.position);
  expect(bench.lease()).toEqual([]);
});

test('a due retry behind messages at hand sets no alarm over and over', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '0s' } });
  await bench.publish('1', '2', '3');
  const [first] = bench.lease(1);
  await bench.broker.deliveries.nack(bench.subscription, [first!.position]);
  let alarms = 0;
  bench.broker.deliveries.onAvailable = () => alarms++;
  for (let n = 0; n < 100; n++) bench.clock.pass(1);
  expect(alarms).toBeLessThan(3);
});
