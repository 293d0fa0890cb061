import { expect, test } from 'vitest';
import { Bench } from './broker-bench.ts';

test('tenants take turns: who comes after a burst waits for one message of it, not for all', async () => {
  const bench = await new Bench().create();
  await bench.publishFor('big', ...Array.from({ length: 1000 }, (_, n) => `big ${n}`));
  expect(bench.lease(2).map(({ text }) => text)).toEqual(['big 0', 'big 1']);
  await bench.publishFor('small', 'small 0', 'small 1');
  await bench.publish('of no tenant');
  const turns = bench.lease(6).map(({ text }) => text);
  expect(turns).toEqual(['big 2', 'small 0', 'of no tenant', 'big 3', 'small 1', 'big 4']);
});

test('turns are kept over a restart, and what was settled out of turn stays settled', async () => {
  const bench = await new Bench().create();
  await bench.publishFor('big', ...Array.from({ length: 300 }, (_, n) => `big ${n}`));
  await bench.publishFor('small', 'small 0', 'small 1', 'small 2');
  for (const { text, position } of bench.lease(4)) {
    if (text.startsWith('small')) bench.broker.deliveries.ack(bench.subscription, position);
  }
  await bench.database.write(() => {});
  await bench.reopen();
  expect(bench.lease(4).map(({ text }) => text)).toEqual(['big 0', 'small 2', 'big 1', 'big 2']);
  expect(bench.subscription.backlog()).toBe(301);
});

test('a burst that comes back from its backoff does not starve who is new', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '10s', maximumBackoff: '10s' } });
  await bench.publishFor('big', ...Array.from({ length: 200 }, (_, n) => `big ${n}`));
  await bench.broker.deliveries.nack(
    bench.subscription,
    bench.lease(200).map(({ position }) => position),
  );
  bench.clock.pass(10_000);
  await bench.publishFor('small', 'small 0');
  expect(bench.lease(2).map(({ text }) => text)).toContain('small 0');
});

test('messages that fail over and over let those behind them back in their turn', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '10s', maximumBackoff: '10s' } });
  await bench.publishFor('big', ...Array.from({ length: 100 }, (_, n) => `big ${n}`));
  await bench.publishFor('small', 'small 0');
  await bench.broker.deliveries.nack(
    bench.subscription,
    bench.lease(101).map(({ position }) => position),
  );
  bench.clock.pass(10_000);
  const order: string[] = [];
  while (order.length < 101) {
    const [next] = bench.lease(1);
    order.push(next!.text);
    await bench.broker.deliveries.nack(bench.subscription, [next!.position]);
    bench.clock.pass(1_000);
  }
  expect(order).toContain('small 0');
});

test('a consumer who fails on everything is shown everything, and what failed takes turns with what was not seen', async () => {
  const bench = await new Bench().create();
  const texts = Array.from({ length: 300 }, (_, n) => `${n}`);
  await bench.publish(...texts);
  const seen = new Set<string>();
  const again: string[] = [];
  for (let pull = 0; pull < 60; pull++) {
    const taken = bench.lease(10);
    again.push(...taken.filter(({ attempt }) => attempt > 1).map(({ text }) => text));
    for (const { text } of taken) seen.add(text);
    const positions = taken.map(({ position }) => position);
    await bench.broker.deliveries.nack(bench.subscription, positions);
  }
  expect(seen.size).toBe(300);
  // Half of what was shown, oldest failure first.
  expect(again.length).toBeGreaterThan(250);
  expect(again.slice(0, 10)).toEqual(texts.slice(0, 10));
});
