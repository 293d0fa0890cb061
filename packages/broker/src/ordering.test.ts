import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Bench, topic } from './broker-bench.ts';
import type { Lease } from './lease.ts';

const ordered = { enableMessageOrdering: true, retryPolicy: { minimumBackoff: '10s', maximumBackoff: '10s' } };

async function publish(bench: Bench, key: string, ...texts: string[]): Promise<void> {
  const messages = texts.map((text) => ({
    data: Buffer.from(text).toString('base64'),
    attributes: {},
    orderingKey: key,
  }));
  await bench.broker.publish(topic, messages);
}

function textOf({ message }: Lease): string {
  return Buffer.from(message.data, 'base64').toString();
}

/** As a stream takes them: several of a key at once. */
function run(bench: Bench, max = 100): string[] {
  return bench.broker.deliveries.lease(bench.subscription, max, 10_000, { runs: true }).map(textOf);
}

function positionOf(bench: Bench, text: string): number {
  return [...bench.subscription.leases.values()].find((lease) => textOf(lease) === text)!.message.position;
}

test('of a key one message is out at a time, and the next when it is acked; other keys and none go on', async () => {
  const bench = await new Bench().create(ordered);
  await publish(bench, 'a', 'a1', 'a2', 'a3');
  await publish(bench, 'b', 'b1', 'b2');
  await bench.publish('free 1', 'free 2');
  const first = bench.lease();
  expect(first.map(({ text }) => text)).toEqual(['a1', 'b1', 'free 1', 'free 2']);
  expect(bench.lease()).toEqual([]);
  bench.broker.deliveries.ack(bench.subscription, first[0]!.position);
  expect(bench.lease().map(({ text }) => text)).toEqual(['a2']);
});

test('a nack holds its key back until the backoff is over, and then it comes first', async () => {
  const bench = await new Bench().create(ordered);
  await publish(bench, 'a', 'a1', 'a2');
  await publish(bench, 'b', 'b1');
  const [a1] = bench.lease(1);
  await bench.broker.deliveries.nack(bench.subscription, [a1!.position]);
  await publish(bench, 'a', 'a3');
  expect(bench.lease().map(({ text }) => text)).toEqual(['b1']);
  bench.clock.pass(10_000);
  const again = bench.lease();
  expect(again).toMatchObject([{ text: 'a1', attempt: 2 }]);
  bench.broker.deliveries.ack(bench.subscription, again[0]!.position);
  expect(bench.lease().map(({ text }) => text)).toEqual(['a2']);
});

test('a stream has several of a key at once; where one fails, all behind it come again, also those that were acked', async () => {
  const bench = await new Bench().create(ordered);
  await publish(bench, 'a', 'a1', 'a2', 'a3', 'a4');
  expect(run(bench)).toEqual(['a1', 'a2', 'a3', 'a4']);
  bench.broker.deliveries.ack(bench.subscription, positionOf(bench, 'a1'));
  bench.broker.deliveries.ack(bench.subscription, positionOf(bench, 'a3'));
  await bench.broker.deliveries.nack(bench.subscription, [positionOf(bench, 'a2')]);
  expect(bench.subscription.leases.size).toBe(0);
  expect(run(bench)).toEqual([]);
  bench.clock.pass(10_000);
  expect(run(bench)).toEqual(['a2', 'a3', 'a4']);
  for (const text of ['a4', 'a3', 'a2']) bench.broker.deliveries.ack(bench.subscription, positionOf(bench, text));
  await bench.database.write(() => {});
  expect(bench.subscription.backlog()).toBe(0);
});

test('a stream is given no more of a key than it asked for, and the rest when all of that is acked', async () => {
  const bench = await new Bench().create(ordered);
  await publish(bench, 'a', 'a1', 'a2', 'a3');
  expect(run(bench, 2)).toEqual(['a1', 'a2']);
  expect(run(bench)).toEqual([]);
  bench.broker.deliveries.ack(bench.subscription, positionOf(bench, 'a1'));
  expect(run(bench)).toEqual([]);
  bench.broker.deliveries.ack(bench.subscription, positionOf(bench, 'a2'));
  expect(run(bench)).toEqual(['a3']);
});

test('the order of a key outlasts a restart, in the midst of a backoff and with what was acked ahead', async () => {
  const bench = await new Bench().create(ordered);
  await publish(bench, 'a', 'a1', 'a2', 'a3');
  run(bench);
  bench.broker.deliveries.ack(bench.subscription, positionOf(bench, 'a3'));
  await bench.broker.deliveries.nack(bench.subscription, [positionOf(bench, 'a1')]);
  await bench.reopen();
  expect(run(bench)).toEqual([]);
  bench.clock.pass(10_000);
  expect(run(bench)).toEqual(['a1', 'a2', 'a3']);
});

test('tenants share a key in the order of publishing', async () => {
  const bench = await new Bench().create(ordered);
  for (const [tenant, text] of [
    ['big', '1'],
    ['small', '2'],
    ['big', '3'],
    ['small', '4'],
  ] as const) {
    const message = { data: Buffer.from(text).toString('base64'), attributes: { tenant }, orderingKey: 'a' };
    await bench.broker.publish(topic, [message]);
  }
  const order: string[] = [];
  for (let n = 0; n < 4; n++) {
    const [one, more] = bench.lease();
    expect(more).toBeUndefined();
    order.push(one!.text);
    bench.broker.deliveries.ack(bench.subscription, one!.position);
  }
  expect(order).toEqual(['1', '2', '3', '4']);
});

test('without enableMessageOrdering a key orders nothing', async () => {
  const bench = await new Bench().create();
  await publish(bench, 'a', 'a1', 'a2');
  expect(bench.lease().map(({ text }) => text)).toEqual(['a1', 'a2']);
});

test('a long key that is held back does not hold back who is behind it', async () => {
  const bench = await new Bench().create(ordered);
  for (let n = 0; n < 5; n++) await publish(bench, 'a', ...Array.from({ length: 1000 }, (_, i) => `a ${n} ${i}`));
  await bench.publish('free');
  expect(bench.lease(1)).toHaveLength(1);
  const offered = Promise.withResolvers<void>();
  bench.broker.deliveries.onAvailable = () => {
    const [next] = bench.lease(1);
    if (next?.text === 'free') offered.resolve();
  };
  if (bench.lease(1).length === 0) await offered.promise;
});

test('property: per key the first delivery of each message is in order, and whoever acks all of it gets all', async () => {
  const command = fc.oneof(
    fc.record({
      do: fc.constant('publish' as const),
      key: fc.constantFrom('a', 'b', ''),
      count: fc.integer({ min: 1, max: 4 }),
    }),
    fc.record({ do: fc.constant('lease' as const), count: fc.integer({ min: 1, max: 4 }), runs: fc.boolean() }),
    fc.record({ do: fc.constant('ack' as const), pick: fc.nat() }),
    fc.record({ do: fc.constant('nack' as const), pick: fc.nat() }),
    fc.record({ do: fc.constant('release' as const), pick: fc.nat() }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(50, 1_100, 11_000) }),
    fc.record({ do: fc.constant('restart' as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 60 }), async (commands) => {
      const bench = await new Bench().create({
        enableMessageOrdering: true,
        retryPolicy: { minimumBackoff: '1s', maximumBackoff: '1s' },
      });
      let published = 0;
      /** Of a key, what is not known to be settled, in order. */
      const open = new Map<string, number[]>([
        ['a', []],
        ['b', []],
        ['', []],
      ]);
      const out = new Map<number, { readonly key: string; readonly number: number }>();
      const take = (leases: readonly Lease[]) => {
        for (const lease of leases) {
          const { orderingKey: key = '', position } = lease.message;
          const number = Number(textOf(lease));
          const waiting = open.get(key)!;
          expect(waiting, `${number} of "${key}" was settled`).toContain(number);
          if (key !== '') {
            const before = waiting.filter((each) => each < number);
            const outNow = [...out.values()].filter((each) => each.key === key).map((each) => each.number);
            for (const each of before) expect([...outNow, ...ahead(key)], `${number} before ${each}`).toContain(each);
          }
          out.set(position, { key, number });
        }
      };
      const acked = new Set<number>();
      const ahead = (key: string) => open.get(key)!.filter((each) => acked.has(each));
      /** An ack of a key counts when all before it are acked. */
      const settle = (key: string) => {
        const waiting = open.get(key)!;
        while (waiting.length > 0 && acked.has(waiting[0]!)) waiting.shift();
        if (key === '')
          open.set(
            key,
            waiting.filter((each) => !acked.has(each)),
          );
      };
      const forget = () => {
        for (const [position, { key, number }] of out) {
          if (bench.subscription.leases.has(position)) continue;
          out.delete(position);
          for (const each of open.get(key)!) if (key !== '' && each > number) acked.delete(each);
        }
      };
      for (const each of commands) {
        const picked = [...out][('pick' in each ? each.pick : 0) % Math.max(1, out.size)];
        if (each.do === 'publish') {
          const numbers = Array.from({ length: each.count }, () => published++);
          open.get(each.key)!.push(...numbers);
          await publish(bench, each.key, ...numbers.map(String));
        } else if (each.do === 'lease') {
          take(bench.broker.deliveries.lease(bench.subscription, each.count, 10_000, { runs: each.runs }));
        } else if (each.do === 'ack' && picked) {
          expect(bench.broker.deliveries.ack(bench.subscription, picked[0])).toBe(true);
          out.delete(picked[0]);
          acked.add(picked[1].number);
          settle(picked[1].key);
        } else if (each.do === 'nack' && picked) {
          await bench.broker.deliveries.nack(bench.subscription, [picked[0]]);
          forget();
        } else if (each.do === 'release' && picked) {
          bench.broker.deliveries.release(bench.subscription, picked[0]);
          forget();
        } else if (each.do === 'pass') {
          bench.clock.pass(each.ms);
          await bench.database.write(() => {});
          forget();
        } else if (each.do === 'restart') {
          await bench.reopen();
          out.clear();
          for (const key of ['a', 'b']) for (const number of open.get(key)!) acked.delete(number);
        }
      }
      await bench.reopen();
      out.clear();
      acked.clear();
      for (let quiet = 0; quiet < 3; ) {
        const leases = bench.broker.deliveries.lease(bench.subscription, 10);
        take(leases);
        quiet = leases.length === 0 ? quiet + 1 : 0;
        for (const { message } of leases) {
          const { key, number } = out.get(message.position)!;
          bench.broker.deliveries.ack(bench.subscription, message.position);
          out.delete(message.position);
          acked.add(number);
          settle(key);
        }
        bench.clock.pass(2_000);
        await bench.database.write(() => {});
      }
      expect([...open.values()].flat()).toEqual([]);
      await bench.close();
    }),
    { numRuns: 100 },
  );
});

test('whoever waits for messages is told when the next of a key comes up, of every key that was acked at once', async () => {
  const bench = await new Bench().create(ordered);
  for (const key of ['a', 'b', 'c']) await publish(bench, key, `${key}1`, `${key}2`);
  const first = bench.lease();
  const { deliveries } = bench.broker;
  const second: string[] = [];
  const waiter = async () => {
    const leases = await deliveries.leaseOrWait(bench.subscription, 1, 60_000, undefined);
    second.push(...leases.map(textOf));
  };
  const waiters = [waiter(), waiter(), waiter()];
  for (const { position } of first) deliveries.ack(bench.subscription, position);
  await Promise.all(waiters);
  expect(second.toSorted()).toEqual(['a2', 'b2', 'c2']);
});

test('a message that failed behind another of its key comes when its backoff is over, or when the other is acked, if later', async () => {
  const bench = await new Bench().create(ordered);
  await publish(bench, 'a', 'a1', 'a2');
  expect(run(bench)).toEqual(['a1', 'a2']);
  await bench.broker.deliveries.nack(bench.subscription, [positionOf(bench, 'a2')]);
  bench.clock.pass(9_000);
  bench.broker.deliveries.extend(bench.subscription, positionOf(bench, 'a1'), 60_000);
  bench.clock.pass(2_000);
  expect(run(bench)).toEqual([]);
  const offered = Promise.withResolvers<void>();
  bench.broker.deliveries.onAvailable = () => offered.resolve();
  bench.broker.deliveries.ack(bench.subscription, positionOf(bench, 'a1'));
  await offered.promise;
  expect(run(bench)).toEqual(['a2']);
});
