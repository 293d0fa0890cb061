import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Broker } from './broker.ts';
import { Bench, reader, topic } from './broker-bench.ts';
import { Database } from './database.ts';
import type { Lease } from './lease.ts';
import { messagesIn } from './log.ts';
import { PushDispatcher, type PushOutcome, type PushRequest, type PushSlot, type PushTarget } from './push.ts';

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

test('message ids never repeat after a restart', async () => {
  const bench = await new Bench().create();
  const before = await bench.publish('1', '2');
  await bench.reopen();
  const after = await bench.publish('3', '4');
  expect(new Set([...before, ...after]).size).toBe(4);
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

test('pushes lease only against free slots, and subscriptions of one target take turns', async () => {
  const bench = await new Bench().create();
  const other = 'projects/p/subscriptions/other';
  await bench.broker.createSubscription({ name: other, topic, pushConfig: { pushEndpoint: 'http://x' } });
  await bench.broker.updateSubscription(reader, (config) => ({ ...config, pushConfig: { pushEndpoint: 'http://x' } }));
  await bench.publish('1', '2', '3');
  const order: string[] = [];
  const finish: ((outcome: PushOutcome) => void)[] = [];
  let free = 1;
  const target: PushTarget = {
    slots: 1,
    onFree: () => {},
    takeAlone: () => undefined,
    take(subscription) {
      if (free === 0) return undefined;
      free--;
      const release = () => {
        free++;
        target.onFree();
      };
      return {
        release,
        push: () => {
          order.push(subscription);
          return new Promise<PushOutcome>((resolve) => finish.push(resolve)).finally(release);
        },
      };
    },
  };
  const dispatcher = new PushDispatcher(bench.broker, { resolve: () => target, authorize: async () => '' });
  for (const subscription of bench.broker.subscriptions) dispatcher.add(subscription);
  for (let n = 0; n < 6; n++) {
    await expect.poll(() => finish.length, { interval: 1 }).toBe(1);
    const leases = bench.broker.subscriptions.reduce((sum, { leases }) => sum + leases.size, 0);
    expect(leases).toBe(1);
    finish.pop()!({ acked: true });
  }
  await dispatcher.stop();
  expect(order.filter((name) => name === reader)).toHaveLength(3);
  expect(new Set(order.slice(1, 3)).size).toBe(2);
});

/** Takes all at once; alone one at a time. What it is given lies in `given` until the test says how it ended. */
class Target implements PushTarget {
  readonly slots: number = 100;
  onFree = () => {};
  readonly given: { readonly alone: boolean; readonly lease: Lease; end(outcome: PushOutcome): void }[] = [];
  #alone = 0;

  take(): PushSlot | undefined {
    return this.#slot(false);
  }

  takeAlone(): PushSlot | undefined {
    return this.#alone > 0 ? undefined : this.#slot(true);
  }

  #slot(alone: boolean): PushSlot {
    this.#alone += alone ? 1 : 0;
    const release = () => {
      this.#alone -= alone ? 1 : 0;
      this.onFree();
    };
    const push = ({ lease }: PushRequest) =>
      new Promise<PushOutcome>((end) => this.given.push({ alone, lease, end })).finally(release);
    return { push, release };
  }
}

test('of the messages of a process that died, each is given to a process alone; of whom all die is deadly', async () => {
  const bench = await new Bench().create({
    pushConfig: { pushEndpoint: 'http://x' },
    retryPolicy: { minimumBackoff: '0s' },
  });
  const target = new Target();
  const deadly: string[] = [];
  const dispatcher = new PushDispatcher(bench.broker, {
    resolve: () => target,
    authorize: async () => '',
    onDeadly: async (_name, { message, attempt }, reason) => {
      deadly.push(`${Buffer.from(message.data, 'base64')} died ${attempt} times: ${reason}`);
      return true;
    },
  });
  dispatcher.add(bench.subscription);
  const died = { acked: false, reason: 'killed', died: true } as const;
  const text = ({ lease }: (typeof target.given)[number]) => Buffer.from(lease.message.data, 'base64').toString();
  await bench.publish('poison', 'innocent');
  await expect.poll(() => target.given.length).toBe(2);
  for (const { alone, end } of target.given.splice(0)) {
    expect(alone).toBe(false);
    end(died);
  }
  const told: string[] = [];
  while (deadly.length === 0) {
    const moved = () => {
      bench.clock.pass(1);
      return target.given.length + deadly.length;
    };
    await expect.poll(moved, { interval: 1 }).toBe(1);
    const one = target.given.pop();
    if (!one) break;
    expect(one.alone).toBe(true);
    told.push(text(one));
    one.end(text(one) === 'poison' ? died : { acked: true });
  }
  expect(told.toSorted()).toEqual(['innocent', 'poison', 'poison', 'poison']);
  expect(deadly).toEqual(['poison died 4 times: killed']);
  // While one is alone, the others go on.
  await bench.publish('later');
  await expect.poll(() => target.given.map((one) => [text(one), one.alone])).toEqual([['later', false]]);
  target.given.pop()!.end({ acked: true });
  await dispatcher.stop();
  await bench.database.write(() => {});
  expect(bench.subscription.backlog()).toBe(0);
});

test('a tenant whose messages hang leaves a quarter of the slots to the others', async () => {
  const bench = await new Bench().create({ pushConfig: { pushEndpoint: 'http://x' } });
  const target = new (class extends Target {
    override readonly slots = 8;
    override take(): PushSlot | undefined {
      return this.given.length < this.slots ? super.take() : undefined;
    }
  })();
  await bench.publishFor('small', 'small 0');
  const dispatcher = new PushDispatcher(bench.broker, { resolve: () => target, authorize: async () => '' });
  dispatcher.add(bench.subscription);
  await expect.poll(() => target.given.length).toBe(1);
  target.given.pop()!.end({ acked: true });
  await bench.publishFor('big', ...Array.from({ length: 20 }, (_, n) => `big ${n}`));
  await expect.poll(() => target.given.length).toBe(6);
  await bench.publishFor('small', 'small 1', 'small 2');
  await expect.poll(() => target.given.length).toBe(8);
  const of = (tenant: string) => target.given.filter(({ lease }) => lease.message.attributes.tenant === tenant);
  expect([of('big').length, of('small').length]).toEqual([6, 2]);
  // What one of it leaves goes to the next of its own.
  const [first] = target.given.splice(0, 1);
  first!.end({ acked: true });
  await expect.poll(() => of('big').length).toBe(6);
  for (const { end } of target.given.splice(0)) end({ acked: false, reason: 'over' });
  await dispatcher.stop();
});

test('of large messages no more are with a target than 32 MB, and the next goes when one of them is over', async () => {
  const bench = await new Bench().create({ pushConfig: { pushEndpoint: 'http://x' } });
  const target = new Target();
  const dispatcher = new PushDispatcher(bench.broker, { resolve: () => target, authorize: async () => '' });
  dispatcher.add(bench.subscription);
  for (let n = 0; n < 6; n++) await bench.publish(`${n}`.repeat(8_000_000));
  await expect.poll(() => target.given.length).toBe(4);
  expect(bench.subscription.leases.size).toBe(4);
  target.given.shift()!.end({ acked: true });
  await expect.poll(() => target.given.length).toBe(4);
  expect(bench.subscription.leases.size).toBe(4);
  while (bench.subscription.backlog() > 0) {
    for (const { end } of target.given.splice(0)) end({ acked: true });
    await bench.database.write(() => {});
  }
  await dispatcher.stop();
});

test('however many suspects wait, what else is due goes past them', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '0s' } });
  await bench.publish(...Array.from({ length: 100 }, (_, n) => `suspect ${n}`), 'innocent');
  const leased = bench.lease(101);
  const suspects = leased.slice(0, 100).map(({ position }) => position);
  await bench.broker.deliveries.nack(bench.subscription, suspects, true);
  await bench.broker.deliveries.nack(bench.subscription, [leased[100]!.position]);
  bench.clock.pass(1);
  const { broker, subscription } = bench;
  expect(broker.deliveries.lease(subscription, 10, 60_000, { of: 'company' })).toMatchObject([
    { attempt: 2, deaths: 0 },
  ]);
  expect(broker.deliveries.lease(subscription, 200, 60_000, { of: 'suspects' })).toHaveLength(100);
});

test('a suspect stays one over a restart', async () => {
  const bench = await new Bench().create({ retryPolicy: { minimumBackoff: '0s' } });
  await bench.publish('1');
  const [leased] = bench.lease();
  await bench.broker.deliveries.nack(bench.subscription, [leased!.position], true);
  await bench.reopen();
  bench.clock.pass(1);
  expect(bench.broker.deliveries.available(bench.subscription, { of: 'company' })).toBe(false);
  expect(bench.broker.deliveries.available(bench.subscription, { of: 'suspects' })).toBe(true);
  expect(bench.broker.deliveries.lease(bench.subscription, 1, 1_000, { of: 'suspects' })).toMatchObject([
    { attempt: 2, deaths: 1 },
  ]);
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

test('of two that create one topic at once, the second is told that it exists', async () => {
  const bench = new Bench();
  const outcomes = await Promise.allSettled([1, 2].map(() => bench.broker.createTopic({ name: topic })));
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({ status: 'ALREADY_EXISTS' });
});
