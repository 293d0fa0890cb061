import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Broker } from './broker.ts';
import { Bench, reader, topic } from './broker-bench.ts';
import { Database } from './database.ts';
import { messagesIn } from './log.ts';

test('what was acked stays acked after a restart, the rest comes again in order', async () => {
  const bench = await new Bench().create();
  await bench.publish('1', '2', '3', '4', '5');
  const leased = bench.lease();
  for (const index of [0, 2, 3]) bench.broker.deliveries.ack(bench.subscription, leased[index]!.position);
  await bench.reopen();
  expect(bench.lease().map(({ text }) => text)).toEqual(['2', '5']);
});

test('the cursor moves over what is settled, and leaves no exceptions behind', async () => {
  const bench = await new Bench().create();
  await bench.publish(...Array.from({ length: 500 }, (_, n) => `${n}`));
  const leased = bench.lease(500);
  for (const { position } of leased.toReversed()) bench.broker.deliveries.ack(bench.subscription, position);
  await bench.database.write(() => {});
  expect(bench.subscription.backlog()).toBe(0);
  expect(bench.database.prepare('SELECT count(*) AS count FROM exception').get()!.count).toBe(0);
  expect(bench.database.prepare('SELECT cursor FROM subscription').get()!.cursor).toBe(leased.at(-1)!.position);
});

test('who publishes is answered before anybody is told of the message', async () => {
  const bench = await new Bench().create();
  const order: string[] = [];
  const told = new Promise<void>((resolve) => {
    bench.broker.deliveries.onAvailable = () => {
      order.push('told');
      resolve();
    };
  });
  await bench.publish('1');
  order.push('answered');
  await told;
  expect(order).toEqual(['answered', 'told']);
});

test('whoever leaves while a look is under way waits for nothing', async () => {
  const bench = await new Bench().create();
  const leaving = new AbortController();
  const pulled = bench.broker.deliveries.leaseOrWait(bench.subscription, 1, 60_000, leaving.signal);
  leaving.abort();
  expect(await pulled).toEqual([]);
  expect(bench.subscription.waiting.size).toBe(0);
});

test('what is missing or there already is told in the words that Google’s clients look for', async () => {
  const { broker } = await new Bench().create();
  const nobody = 'projects/test/subscriptions/nobody';
  expect(() => broker.subscription(nobody)).toThrow(
    `Resource not found (resource=nobody): there is no subscription "${nobody}"`,
  );
  const short = topic.slice(topic.lastIndexOf('/') + 1);
  await expect(broker.createTopic({ name: topic })).rejects.toThrow(
    `Resource already exists in the project (resource=${short}): the topic "${topic}" is there`,
  );
});

test('another order and filter hold also for what waits, each settled or failed as it was, and over a restart', async () => {
  const bench = await new Bench().create({ filter: 'attributes:plain', enableMessageOrdering: false });
  const texts = ['plain 0', 'plain 1', 'other 2', 'plain 3', 'other 4', 'plain 5'];
  const messages = texts.map((text) => ({
    data: Buffer.from(text).toString('base64'),
    attributes: { [text.split(' ')[0]!]: 'yes' },
    orderingKey: 'key',
  }));
  await bench.broker.publish(topic, messages);
  const leased = bench.lease();
  expect(leased.map(({ text }) => text)).toEqual(['plain 0', 'plain 1', 'plain 3', 'plain 5']);
  bench.broker.deliveries.ack(bench.subscription, leased[2]!.position);
  await bench.broker.deliveries.nack(bench.subscription, [leased[1]!.position]);
  await bench.database.write(() => {});

  await bench.broker.remakeSubscription(reader, { filter: '', enableMessageOrdering: true });
  const inTurn = async (count: number) => {
    const texts: string[] = [];
    for (let turn = 0; turn < count; turn++) {
      for (const { text, position } of bench.lease()) {
        texts.push(text);
        bench.broker.deliveries.ack(bench.subscription, position);
      }
      await bench.database.write(() => {});
      await new Promise(setImmediate);
    }
    return texts;
  };
  // One at a time, with what the filter had hidden.
  expect(bench.lease().map(({ text }) => text)).toEqual(['plain 0']);
  await bench.reopen();
  expect(bench.subscription.config).toMatchObject({ filter: '', enableMessageOrdering: true });
  expect(await inTurn(2)).toEqual(['plain 0', 'plain 1']);
  await bench.broker.remakeSubscription(reader, { filter: 'attributes:plain', enableMessageOrdering: false });
  expect(await inTurn(4)).toEqual(['plain 5']);
  expect(bench.subscription.backlog()).toBe(0);
});

test('message ids never repeat after a restart', async () => {
  const bench = await new Bench().create();
  const before = await bench.publish('1', '2');
  await bench.reopen();
  const after = await bench.publish('3', '4');
  expect(new Set([...before, ...after]).size).toBe(4);
});

test('nothing is offered before it is durable', async () => {
  const bench = await new Bench().create();
  const held = Promise.withResolvers<void>();
  await bench.close();
  bench.database = new Database(bench.path, { sync: () => held.promise });
  bench.broker = new Broker(bench.database, bench.clock);
  const published = bench.publish('1');
  await expect.poll(() => [...messagesIn(bench.database)].length).toBe(1);
  expect(bench.lease()).toEqual([]);
  held.resolve();
  await published;
  expect(bench.lease()).toHaveLength(1);
});

test('property: nothing acked comes back, nothing else is lost, over any course of events and restarts', async () => {
  const tenant = fc.constantFrom(undefined, 'a', 'b');
  const command = fc.oneof(
    fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 5 }), tenant }),
    fc.record({ do: fc.constant('lease' as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ do: fc.constant('ack' as const), pick: fc.nat() }),
    fc.record({ do: fc.constant('nack' as const), pick: fc.nat(), died: fc.boolean() }),
    fc.record({ do: fc.constant('release' as const), pick: fc.nat() }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(50, 500, 11_000) }),
    fc.record({ do: fc.constant('restart' as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 60 }), async (commands) => {
      const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '0.1s', maximumBackoff: '1s' } });
      const acked = new Set<string>();
      const open = new Set<string>();
      let leased: { readonly text: string; readonly position: number }[] = [];
      let count = 0;
      const take = (max: number) => {
        const taken = bench.lease(max);
        for (const { text } of taken) expect(acked.has(text), `${text} was acked`).toBe(false);
        leased.push(...taken);
      };
      for (const each of commands) {
        if (each.do === 'publish') {
          const texts = Array.from({ length: each.count }, () => `${count++}`);
          for (const text of texts) open.add(text);
          await bench.publishFor(each.tenant, ...texts);
        } else if (each.do === 'lease') take(each.count);
        else if (each.do === 'ack' && leased.length > 0) {
          const [one] = leased.splice(each.pick % leased.length, 1);
          if (bench.broker.deliveries.ack(bench.subscription, one!.position)) {
            acked.add(one!.text);
            open.delete(one!.text);
          }
        } else if (each.do === 'nack' && leased.length > 0) {
          const [one] = leased.splice(each.pick % leased.length, 1);
          await bench.broker.deliveries.nack(bench.subscription, [one!.position], each.died);
        } else if (each.do === 'release' && leased.length > 0) {
          const [one] = leased.splice(each.pick % leased.length, 1);
          bench.broker.deliveries.release(bench.subscription, one!.position);
        } else if (each.do === 'pass') {
          bench.clock.pass(each.ms);
          await bench.database.write(() => {});
          leased = leased.filter(({ position }) => bench.subscription.leases.has(position));
        } else if (each.do === 'restart') {
          await bench.reopen();
          leased = [];
        }
      }
      // Everything that is still open can be had, each exactly once.
      await bench.reopen();
      const rest: string[] = [];
      for (let quiet = 0; quiet < 3; ) {
        const taken = bench.lease();
        quiet = taken.length === 0 ? quiet + 1 : 0;
        rest.push(...taken.map(({ text }) => text));
        bench.clock.pass(2_000);
        await bench.database.write(() => {});
      }
      expect(rest.toSorted()).toEqual([...open].toSorted());
      await bench.close();
    }),
    { numRuns: 100 },
  );
});

test('of two that create one topic at once, the second is told that it exists', async () => {
  const bench = new Bench();
  const outcomes = await Promise.allSettled([1, 2].map(() => bench.broker.createTopic({ name: topic })));
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({ status: 'ALREADY_EXISTS' });
});
