import { expect, test } from 'vitest';
import { Bench, reader, topic } from './broker-bench.ts';
import type { Lease } from './lease.ts';
import { PushDispatcher, type PushOutcome, type PushRequest, type PushSlot, type PushTarget } from './push.ts';

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
