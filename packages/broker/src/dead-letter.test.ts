import { expect, test } from 'vitest';
import { Bench, reader, topic } from './broker-bench.ts';

const deadLetterTopic = 'projects/p/topics/dead';
const morgue = 'projects/p/subscriptions/morgue';
const policy = {
  deadLetterPolicy: { deadLetterTopic, maxDeliveryAttempts: 5 },
  retryPolicy: { minimumBackoff: '0s', maximumBackoff: '1s' },
};

async function mortal(config = {}): Promise<Bench> {
  const bench = new Bench();
  await bench.broker.createTopic({ name: deadLetterTopic });
  await bench.broker.createSubscription({ name: morgue, topic: deadLetterTopic });
  return bench.create({ ...policy, ...config });
}

async function take(
  bench: Bench,
): Promise<{ readonly text: string; readonly position: number; readonly attempt: number }[]> {
  bench.clock.pass(1);
  const leases = bench.lease();
  await bench.database.write(() => {});
  return leases;
}

async function fail(bench: Bench): Promise<number | undefined> {
  const [lease] = await take(bench);
  if (lease) await bench.broker.deliveries.nack(bench.subscription, [lease.position]);
  return lease?.attempt;
}

function dead(bench: Bench) {
  return bench.broker.deliveries.lease(bench.broker.subscription(morgue), 10).map(({ message }) => message);
}

test('after its last attempt a message is in the dead-letter topic, once, with where it comes from', async () => {
  const bench = await mortal();
  const [messageId] = await bench.broker.publish(topic, [
    { data: btoa('poison'), attributes: { kind: 'a' }, orderingKey: 'k' },
  ]);
  for (let attempt = 1; attempt <= 5; attempt++) {
    expect(dead(bench)).toEqual([]);
    expect(await fail(bench)).toBe(attempt);
  }
  expect(await fail(bench)).toBeUndefined();
  const [letter, ...more] = dead(bench);
  expect(more).toEqual([]);
  expect(letter).toMatchObject({
    data: btoa('poison'),
    orderingKey: 'k',
    attributes: {
      kind: 'a',
      CloudPubSubDeadLetterSourceDeliveryCount: '5',
      CloudPubSubDeadLetterSourceSubscription: 'reader',
      CloudPubSubDeadLetterSourceSubscriptionProject: 'p',
      CloudPubSubDeadLetterSourceTopicPublishTime: new Date(1_000_000_000_000).toISOString(),
    },
  });
  expect(letter!.messageId).not.toBe(messageId);
  expect(bench.subscription.backlog()).toBe(0);
});

test('an attempt is counted before anyone sees it: a message that kills the broker five times is dead', async () => {
  const bench = await mortal();
  await bench.publish('killer');
  for (let attempt = 1; attempt <= 5; attempt++) {
    expect(await take(bench)).toMatchObject([{ attempt }]);
    await bench.reopen();
  }
  expect(await take(bench)).toEqual([]);
  expect(dead(bench)).toHaveLength(1);
});

test('a lease that runs out counts, one that is given back unseen does not', async () => {
  const bench = await mortal();
  await bench.publish('1');
  const [first] = await take(bench);
  bench.broker.deliveries.release(bench.subscription, first!.position);
  expect(await take(bench)).toMatchObject([{ attempt: 1 }]);
  bench.clock.pass(10_000);
  await expect.poll(() => bench.subscription.leases.size).toBe(0);
  expect(await take(bench)).toMatchObject([{ attempt: 2 }]);
});

test('a seek during the last attempt is no failure: the message comes again as that attempt', async () => {
  const bench = await mortal();
  await bench.publish('lucky');
  for (let attempt = 1; attempt < 5; attempt++) await fail(bench);
  expect(await take(bench)).toMatchObject([{ attempt: 5 }]);
  await bench.broker.seeks.toTime(reader, 0);
  expect(await take(bench)).toMatchObject([{ attempt: 5 }]);
  expect(dead(bench)).toEqual([]);
});

test('without its topic a message stays, and goes when the topic is there again', async () => {
  const bench = await mortal();
  await bench.publish('poison');
  await bench.broker.deleteTopic(deadLetterTopic);
  for (let attempt = 1; attempt <= 7; attempt++) {
    expect(await fail(bench)).toBe(attempt);
    bench.clock.pass(1_000);
  }
  await bench.broker.createTopic({ name: deadLetterTopic });
  await bench.broker.createSubscription({ name: 'projects/p/subscriptions/second', topic: deadLetterTopic });
  expect(await take(bench)).toEqual([]);
  await expect
    .poll(() => bench.broker.deliveries.lease(bench.broker.subscription('projects/p/subscriptions/second'), 1))
    .toHaveLength(1);
});

test('a policy that is given later counts the attempts there were', async () => {
  const bench = await mortal({ deadLetterPolicy: undefined });
  await bench.publish('poison');
  for (let attempt = 1; attempt <= 6; attempt++) {
    expect(await fail(bench)).toBe(attempt);
    bench.clock.pass(1_000);
  }
  await bench.broker.updateSubscription(reader, (config) => ({ ...config, ...policy }));
  expect(await take(bench)).toEqual([]);
  await expect.poll(() => dead(bench)).toHaveLength(1);
});

test('the next of a key comes when the one before it is dead', async () => {
  const bench = await mortal({ enableMessageOrdering: true });
  await bench.broker.publish(
    topic,
    ['a1', 'a2'].map((text) => ({ data: btoa(text), attributes: {}, orderingKey: 'a' })),
  );
  for (let attempt = 1; attempt <= 5; attempt++) {
    expect(await fail(bench)).toBe(attempt);
    bench.clock.pass(1_000);
  }
  expect(await take(bench)).toMatchObject([{ text: 'a2', attempt: 1 }]);
});

/** One that was delivered as often as a policy allows that is given now, and another behind it. */
async function spent(): Promise<Bench> {
  const bench = await mortal({ deadLetterPolicy: undefined });
  await bench.publish('poison');
  for (let attempt = 1; attempt <= 4; attempt++) {
    expect(await fail(bench)).toBe(attempt);
    bench.clock.pass(1_000);
  }
  await bench.publish('next');
  await bench.broker.deliveries.nack(
    bench.subscription,
    bench.lease().map(({ position }) => position),
  );
  await bench.broker.updateSubscription(reader, (config) => ({ ...config, ...policy }));
  bench.clock.pass(10_000);
  return bench;
}

test('who asked for one and met what was delivered too often is told of what is behind it', async () => {
  const bench = await spent();
  const pushed = Promise.withResolvers<string>();
  bench.broker.deliveries.onAvailable = (subscription) => {
    if (subscription === bench.subscription) for (const { text } of bench.lease(1)) pushed.resolve(text);
  };
  expect(bench.lease(1)).toEqual([]);
  expect(await pushed.promise).toBe('next');
  await expect.poll(() => dead(bench)).toHaveLength(1);
});

test('what the disk does not forward now is forwarded when its lease is over', async () => {
  const bench = await spent();
  bench.database.prepare('PRAGMA query_only = ON').get();
  expect(bench.lease(1)).toEqual([]);
  await bench.database.write(() => {}).catch(() => {});
  bench.database.prepare('PRAGMA query_only = OFF').get();
  expect(dead(bench)).toEqual([]);
  bench.clock.pass(10_000);
  await expect.poll(() => dead(bench)).toHaveLength(1);
  expect(bench.subscription.backlog()).toBe(1);
});
