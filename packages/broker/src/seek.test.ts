import { expect, test } from 'vitest';
import { Bench, reader, topic } from './broker-bench.ts';
import { messagesIn } from './log.ts';

const second = 'projects/p/subscriptions/second';
const snapshot = 'projects/p/snapshots/before';
const day = 86_400_000;

function texts(bench: Bench, name = reader): string[] {
  return bench.broker.deliveries.lease(bench.broker.subscription(name), 100).map(({ message }) => atob(message.data));
}

async function drain(bench: Bench, max = 100): Promise<void> {
  for (const { position } of bench.lease(max)) bench.broker.deliveries.ack(bench.subscription, position);
  await bench.database.write(() => {});
}

/** Three messages, a second apart. */
async function published(config = {}, ofTopic = {}): Promise<{ readonly bench: Bench; readonly times: number[] }> {
  const bench = new Bench({ tidies: true });
  await bench.broker.createTopic({ name: topic, ...ofTopic });
  await bench.broker.createSubscription({ name: reader, topic, ...config });
  const times: number[] = [];
  for (const text of ['1', '2', '3']) {
    times.push(bench.clock.now());
    await bench.publish(text);
    bench.clock.pass(1_000);
  }
  return { bench, times };
}

test('a seek forward acks what was published before, and ends what is out', async () => {
  const { bench, times } = await published();
  const [one] = bench.lease(1);
  await bench.broker.seeks.toTime(reader, times[1]!);
  expect(bench.subscription.leases.size).toBe(0);
  expect(bench.broker.deliveries.ack(bench.subscription, one!.position)).toBe(false);
  expect(texts(bench)).toEqual(['2', '3']);
  await bench.broker.seeks.toTime(reader, bench.clock.now() + day);
  expect(texts(bench)).toEqual([]);
  await bench.publish('4');
  expect(texts(bench)).toEqual(['4']);
});

test('a seek back brings what is retained: by the subscription what it acked, by the topic also what was before it', async () => {
  const plain = await published();
  await drain(plain.bench);
  await plain.bench.broker.seeks.toTime(reader, 0);
  expect(texts(plain.bench)).toEqual([]);

  const retaining = await published({ retainAckedMessages: true });
  await drain(retaining.bench);
  await retaining.bench.broker.seeks.toTime(reader, retaining.times[1]!);
  expect(texts(retaining.bench)).toEqual(['2', '3']);

  const { bench } = await published({}, { messageRetentionDuration: '600s' });
  await bench.broker.createSubscription({ name: second, topic });
  expect(texts(bench, second)).toEqual([]);
  await bench.broker.seeks.toTime(second, 0);
  expect(texts(bench, second)).toEqual(['1', '2', '3']);
  bench.clock.pass(600_000);
  await bench.broker.seeks.toTime(second, 0);
  expect(texts(bench, second)).toEqual([]);
});

test('what was acked a moment before a seek back stays acked', async () => {
  const { bench } = await published();
  for (const { position } of bench.lease(2)) bench.broker.deliveries.ack(bench.subscription, position);
  await bench.broker.seeks.toTime(reader, 0);
  expect(texts(bench)).toEqual(['3']);
});

test('a seek outlasts a restart, and so does what was settled ahead of the cursor', async () => {
  const { bench, times } = await published({ retainAckedMessages: true });
  await drain(bench);
  await bench.broker.seeks.toTime(reader, times[0]!);
  const [, two] = bench.lease(2);
  bench.broker.deliveries.ack(bench.subscription, two!.position);
  await bench.database.write(() => {});
  await bench.reopen();
  expect(texts(bench)).toEqual(['1', '3']);
});

test('a snapshot brings back what was not acked when it was made, and all that came since', async () => {
  const { bench } = await published();
  await bench.broker.createSubscription({ name: second, topic });
  const [, two] = bench.lease(2);
  bench.broker.deliveries.ack(bench.subscription, two!.position);
  await bench.broker.snapshots.create(snapshot, bench.subscription, undefined);
  await bench.publish('4');
  await bench.broker.seeks.toTime(reader, bench.clock.now() + day);
  expect(texts(bench)).toEqual([]);
  await bench.reopen();
  while ((await bench.broker.housekeeping.prune(100)) > 0);
  await bench.broker.seeks.toSnapshot(reader, snapshot);
  expect(texts(bench)).toEqual(['1', '3', '4']);
  await bench.broker.seeks.toSnapshot(second, snapshot);
  expect(texts(bench, second)).toEqual(['1', '3', '4']);
});

test('a snapshot lasts seven days less the age of its oldest message, and is refused where that is under an hour', async () => {
  const { bench } = await published({ messageRetentionDuration: '2678400s', expirationPolicy: {} });
  bench.clock.pass(6 * day);
  const { expireTime } = await bench.broker.snapshots.create(snapshot, bench.subscription, undefined);
  expect(Date.parse(expireTime)).toBe(1_000_000_000_000 + 7 * day);
  bench.clock.pass(day);
  expect(() => bench.broker.snapshots.get(snapshot)).toThrow('there is no snapshot');
  await expect(
    bench.broker.snapshots.create('projects/p/snapshots/late', bench.subscription, undefined),
  ).rejects.toThrow('within the hour');
});

test('what was acked a moment before a snapshot takes nothing from how long it lasts', async () => {
  const { bench } = await published({ messageRetentionDuration: '2678400s', expirationPolicy: {} });
  bench.clock.pass(6 * day);
  const leases = bench.lease();
  await bench.publish('young');
  for (const { position } of leases) bench.broker.deliveries.ack(bench.subscription, position);
  const { expireTime } = await bench.broker.snapshots.create(snapshot, bench.subscription, undefined);
  expect(Date.parse(expireTime)).toBe(bench.clock.now() + 7 * day);
});

test('a snapshot of another topic is refused and changes nothing', async () => {
  const { bench } = await published();
  const other = 'projects/p/topics/other';
  await bench.broker.createTopic({ name: other });
  await bench.broker.createSubscription({ name: second, topic: other });
  await bench.broker.snapshots.create(snapshot, bench.broker.subscription(second), undefined);
  await expect(bench.broker.seeks.toSnapshot(reader, snapshot)).rejects.toMatchObject({
    status: 'FAILED_PRECONDITION',
  });
  expect(texts(bench)).toEqual(['1', '2', '3']);
});

test('what nobody acked is gone after its retention, waiting, unseen or of a key, and the rest comes', async () => {
  const { bench } = await published({
    messageRetentionDuration: '600s',
    enableMessageOrdering: true,
    retryPolicy: { minimumBackoff: '500s', maximumBackoff: '500s' },
  });
  const keyed = (text: string) => ({ data: btoa(text), attributes: {}, orderingKey: 'k' });
  await bench.broker.publish(topic, [keyed('k1')]);
  const leases = bench.lease();
  await bench.broker.deliveries.nack(
    bench.subscription,
    leases.map(({ position }) => position),
  );
  bench.clock.pass(590_000);
  await bench.broker.publish(topic, [keyed('k2')]);
  await bench.publish('fresh');
  bench.clock.pass(20_000);
  expect(texts(bench).toSorted()).toEqual(['fresh', 'k2']);
});

test('the log keeps what somebody may still have, and nothing else', async () => {
  const { bench } = await published();
  await bench.broker.createSubscription({ name: second, topic, retainAckedMessages: true });
  const left = () => [...messagesIn(bench.database)].length;
  const prune = async () => {
    while ((await bench.broker.housekeeping.prune(2)) > 0);
    return left();
  };
  await drain(bench, 2);
  expect(await prune()).toBe(1);
  await bench.publish('4');
  await drain(bench);
  for (const { message } of bench.broker.deliveries.lease(bench.broker.subscription(second), 10)) {
    bench.broker.deliveries.ack(bench.broker.subscription(second), message.position);
  }
  await bench.database.write(() => {});
  // The second retains what it acked.
  expect(await prune()).toBe(1);
  bench.clock.pass(8 * day);
  expect(await prune()).toBe(0);
});

test('a subscription that nobody uses for its time to live is gone, and one in use is not', async () => {
  const { bench } = await published({ expirationPolicy: { ttl: '691200s' } });
  await bench.broker.createSubscription({ name: second, topic, expirationPolicy: {} });
  bench.clock.pass(7 * day);
  bench.lease(1);
  bench.clock.pass(7 * day);
  await bench.broker.housekeeping.tidy();
  expect(bench.broker.subscriptions).toHaveLength(2);
  await bench.reopen();
  bench.clock.pass(9 * day);
  await bench.broker.housekeeping.tidy();
  expect(bench.broker.subscriptions.map(({ config }) => config.name)).toEqual([second]);
});

test('what the filter of a subscription hides does not stay in the log', async () => {
  const { bench } = await published({ filter: 'attributes:wanted' });
  while ((await bench.broker.housekeeping.prune(100)) > 0);
  // What a cursor passed is known when it is durable.
  while ((await bench.broker.housekeeping.prune(100)) > 0);
  expect([...messagesIn(bench.database)]).toEqual([]);
});

test('a seek while acks are on their way brings nothing back that was acked', async () => {
  const { bench } = await published();
  for (const { position } of bench.lease()) bench.broker.deliveries.ack(bench.subscription, position);
  await bench.broker.seeks.toTime(reader, 0);
  expect(texts(bench)).toEqual([]);
});

test('a seek that is refused leaves one under way alone', async () => {
  const { bench, times } = await published({ retainAckedMessages: true });
  await drain(bench);
  const sought = bench.broker.seeks.toTime(reader, times[1]!);
  await expect(bench.broker.seeks.toSnapshot(reader, snapshot)).rejects.toMatchObject({ status: 'NOT_FOUND' });
  await sought;
  await bench.reopen();
  expect(texts(bench)).toEqual(['2', '3']);
});

test('a key whose first message is removed goes on, whatever became of that one', async () => {
  for (const first of ['leased', 'nacked', 'waiting', 'at hand', 'leased, then a crash'] as const) {
    const bench = await new Bench().create({
      enableMessageOrdering: true,
      messageRetentionDuration: '600s',
      retryPolicy: { minimumBackoff: first === 'waiting' ? '600s' : '0s', maximumBackoff: '600s' },
    });
    const keyed = (text: string) => ({ data: btoa(text), attributes: {}, orderingKey: 'k' });
    await bench.broker.publish(topic, [keyed('k1')]);
    bench.clock.pass(500_000);
    await bench.broker.publish(topic, [keyed('k2')]);
    const [k1] = bench.lease();
    expect(k1).toMatchObject({ text: 'k1' });
    if (first === 'waiting' || first === 'at hand') {
      await bench.broker.deliveries.nack(bench.subscription, [k1!.position]);
    } else bench.broker.deliveries.extend(bench.subscription, k1!.position, 600_000);
    if (first === 'at hand') expect(bench.broker.deliveries.available(bench.subscription)).toBe(true);
    bench.clock.pass(150_000);
    expect(await bench.broker.housekeeping.prune(100)).toBe(1);
    if (first === 'nacked') await bench.broker.deliveries.nack(bench.subscription, [k1!.position]);
    if (first === 'leased') bench.broker.deliveries.ack(bench.subscription, k1!.position);
    if (first === 'leased, then a crash') await bench.reopen();
    expect(texts(bench), first).toEqual(['k2']);
    const [k2] = bench.subscription.leases.keys();
    bench.broker.deliveries.ack(bench.subscription, k2!);
    await bench.database.write(() => {});
    expect(bench.subscription.cursor, first).toBe(2);
  }
});

test('a lease that is on disk for what was removed holds up no cursor', async () => {
  const bench = await new Bench().create({ enableExactlyOnceDelivery: true, messageRetentionDuration: '600s' });
  await bench.publish('old');
  const leases = await bench.broker.deliveries.leaseOrWait(bench.subscription, 1, 0, undefined);
  const [old] = leases.map(({ message, attempt }) => ({ position: message.position, attempt }));
  bench.clock.pass(5_000);
  await bench.broker.deliveries.extendExactly(bench.subscription, [old!], 600_000);
  bench.clock.pass(596_000);
  expect(await bench.broker.housekeeping.prune(100)).toBe(1);
  await bench.reopen();
  await bench.publish('new');
  const [fresh] = await bench.broker.deliveries.leaseOrWait(bench.subscription, 1, 0, undefined);
  const { message, attempt } = fresh!;
  await bench.broker.deliveries.ackExactly(bench.subscription, [{ position: message.position, attempt }]);
  expect(bench.subscription.cursor).toBe(2);
});

test('what is removed is asked of those who have something new, not of all', async () => {
  const bench = await new Bench({ tidies: true }).create();
  const [busy, other] = ['projects/p/topics/busy', 'projects/p/subscriptions/busy'];
  await bench.broker.createTopic({ name: busy });
  await bench.broker.createSubscription({ name: other, topic: busy });
  const rounds = async (count: number) => {
    for (let n = 0; n < count; n++) {
      await bench.broker.publish(busy, [{ data: btoa('x'), attributes: {} }]);
      const [lease] = bench.broker.deliveries.lease(bench.broker.subscription(other), 1);
      bench.broker.deliveries.ack(bench.broker.subscription(other), lease!.message.position);
      await bench.broker.housekeeping.tidy();
    }
  };
  await rounds(2);
  const { cursor } = bench.subscription;
  await rounds(3);
  // A cursor that is moved is a row that is written.
  expect(bench.subscription.cursor).toBe(cursor);
  expect([...messagesIn(bench.database)]).toEqual([]);
  await bench.publish('new');
  expect(texts(bench)).toEqual(['new']);
});
