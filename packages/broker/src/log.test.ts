import { expect, test } from 'vitest';
import { explain } from './admin/explain.ts';
import { viewOf } from './admin/subscription-view.ts';
import { Broker } from './broker.ts';
import { Bench, reader, topic } from './broker-bench.ts';
import { Database } from './database.ts';
import { messagesIn, type PubsubMessage } from './log.ts';

const rows = (bench: Bench) => bench.database.prepare('SELECT count(*) AS rows FROM batch').get()!.rows;
const textOf = ({ data }: PubsubMessage) => Buffer.from(data, 'base64').toString();
const message = (text: string, more: Partial<PubsubMessage> = {}) => ({ data: btoa(text), attributes: {}, ...more });

test('what is published together is one row, and each message its own', async () => {
  const bench = await new Bench().create();
  const ids = await bench.broker.publish(topic, [
    message('a'),
    message('', { attributes: { n: '2' } }),
    message('ccc', { attributes: { n: '3', more: 'yes' } }),
  ]);
  expect(rows(bench)).toBe(1);
  await bench.reopen();
  expect(Array.from(messagesIn(bench.database), ({ message }) => message)).toMatchObject([
    { messageId: ids[0], attributes: {}, data: btoa('a') },
    { messageId: ids[1], attributes: { n: '2' }, data: '' },
    { messageId: ids[2], attributes: { n: '3', more: 'yes' }, data: btoa('ccc') },
  ]);
  expect(new Set(ids).size).toBe(3);
  expect(bench.lease().map(({ text }) => text)).toEqual(['a', '', 'ccc']);
});

test('a row has no more than a reader of one message may be given to read', async () => {
  const bench = await new Bench().create();
  const texts = [...Array.from({ length: 40 }, (_, n) => String(n).padEnd(5_000)), 'x'.repeat(300_000), 'last'];
  await bench.publish(...texts);
  const sizes = bench.database.prepare('SELECT length(data) AS bytes, count FROM batch').all();
  for (const { bytes, count } of sizes) if ((count as number) > 1) expect(bytes).toBeLessThanOrEqual(65_536);
  await bench.reopen();
  expect(bench.lease().map(({ text }) => text)).toEqual(texts);
});

test('of a batch that is settled in part, the others come after a restart, and it goes when all are', async () => {
  const bench = await new Bench().create();
  await bench.publish('1', '2', '3', '4', '5');
  const leased = bench.lease();
  for (const index of [0, 2, 3]) bench.broker.deliveries.ack(bench.subscription, leased[index]!.position);
  await bench.reopen();
  expect(bench.subscription.backlog()).toBe(2);
  expect(viewOf(bench.broker, bench.subscription).backlog.messages).toBe(2);
  expect(await bench.broker.housekeeping.prune(100)).toBe(0);
  const left = bench.lease();
  expect(left.map(({ text }) => text)).toEqual(['2', '5']);
  for (const { position } of left) bench.broker.deliveries.ack(bench.subscription, position);
  await bench.database.write(() => {});
  expect(await bench.broker.housekeeping.prune(100)).toBe(5);
  expect(rows(bench)).toBe(0);
});

test('positions and ids go on after a restart, also where the last batch is gone', async () => {
  const bench = await new Bench().create();
  const before = await bench.publish('1', '2', '3');
  for (const { position } of bench.lease()) bench.broker.deliveries.ack(bench.subscription, position);
  await bench.database.write(() => {});
  await bench.broker.housekeeping.prune(100);
  await bench.reopen();
  const after = await bench.publish('4');
  expect(before).not.toContain(after[0]);
  expect(bench.lease()).toMatchObject([{ text: '4', position: 4 }]);
});

test('a snapshot stands within a batch', async () => {
  const bench = await new Bench().create();
  const name = 'projects/p/snapshots/within';
  await bench.publish('1', '2', '3', '4');
  const [first, , third] = bench.lease();
  for (const { position } of [first!, third!]) bench.broker.deliveries.ack(bench.subscription, position);
  await bench.broker.snapshots.create(name, bench.subscription, undefined);
  await bench.broker.seeks.toTime(reader, bench.clock.now() + 1);
  expect(bench.lease()).toEqual([]);
  await bench.broker.seeks.toSnapshot(reader, name);
  expect(bench.lease().map(({ text }) => text)).toEqual(['2', '4']);
});

test('of a publish for several tenants each has its turn', async () => {
  const bench = await new Bench().create();
  const of = (text: string, tenant: string) => message(text, { attributes: { tenant } });
  const ids = await bench.broker.publish(topic, [of('a1', 'a'), of('b1', 'b'), of('a2', 'a'), of('a3', 'a')]);
  expect(rows(bench)).toBe(3);
  const texts = new Map(Array.from(messagesIn(bench.database), ({ message }) => [message.messageId, textOf(message)]));
  expect(ids.map((id) => texts.get(id))).toEqual(['a1', 'b1', 'a2', 'a3']);
  expect(bench.lease().map(({ text }) => text)).toEqual(['a1', 'b1', 'a2', 'a3']);
});

test('the order of a key is that of the request, also where its messages are of several tenants', async () => {
  const bench = await new Bench().create({ enableMessageOrdering: true });
  const of = (text: string, tenant: string) => message(text, { attributes: { tenant }, orderingKey: 'k' });
  await bench.broker.publish(topic, [of('1', 'a'), of('2', 'b'), of('3', 'a'), of('4', 'b')]);
  const came: string[] = [];
  for (let n = 0; n < 4; n++) {
    const [lease] = bench.lease();
    came.push(lease!.text);
    bench.broker.deliveries.ack(bench.subscription, lease!.position);
  }
  expect(came).toEqual(['1', '2', '3', '4']);
});

test('the messages of a key in one batch come one after the other, and what holds one back is named', async () => {
  const bench = await new Bench().create({ enableMessageOrdering: true, filter: 'NOT attributes:hidden' });
  const keyed = (text: string, attributes = {}) => message(text, { orderingKey: 'k', attributes });
  const ids = await bench.broker.publish(topic, [
    keyed('1', { hidden: 'yes' }),
    keyed('2'),
    keyed('3', { hidden: 'yes' }),
    keyed('4'),
  ]);
  await bench.reopen();
  const [two, ...none] = bench.lease();
  expect([two?.text, none]).toEqual(['2', []]);
  const { subscriptions } = await explain(bench.broker, ids[3]!);
  expect(subscriptions[0]).toMatchObject({ state: 'waiting' });
  expect(subscriptions[0]!.because).toContain(ids[1]);
  bench.broker.deliveries.ack(bench.subscription, two!.position);
  expect(bench.lease().map(({ text }) => text)).toEqual(['4']);
});

test('a message is found by its id, wherever it is in its batch and however many starts ago it came', async () => {
  const bench = await new Bench().create();
  const ids: string[] = [];
  for (let start = 0; start < 4; start++) {
    for (const size of [1, 7, 2]) ids.push(...(await bench.publish(...Array.from({ length: size }, (_, n) => `${n}`))));
    await bench.reopen();
  }
  for (const id of ids) expect(await explain(bench.broker, id)).toMatchObject({ messageId: id, inLog: true });
  await expect(explain(bench.broker, `${BigInt(ids[9]!) + 1n}`)).rejects.toMatchObject({ status: 'NOT_FOUND' });
});

test('what a program wrote that had a row for each message is delivered, once, and goes on', async () => {
  const bench = new Bench();
  await bench.close();
  const { path } = bench;
  const older = new Database(`${path}-older`);
  older.migrate('broker', Broker.schema.slice(0, -1));
  await older.write(() => {
    older.prepare(`INSERT INTO topic (id, name, config) VALUES (1, ?, ?)`).run(topic, JSON.stringify({ name: topic }));
    older
      .prepare('INSERT INTO subscription (id, name, topic, config, cursor) VALUES (1, ?, 1, ?, 1)')
      .run(reader, JSON.stringify({ name: reader, topic, enableMessageOrdering: true }));
    const insert = older.prepare(
      'INSERT INTO message (topic, lane, id, published_at, ordering_key, attributes, data) VALUES (1, ?, ?, ?, ?, ?, ?)',
    );
    for (const [n, key] of [null, null, null, 'k', 'k'].entries()) {
      insert.run('', `12000000${n}`, bench.clock.now(), key, `{"n":"${n}"}`, Buffer.from(`old ${n}`));
    }
    // The first is behind the cursor, the third was acked ahead of it, the second waits after two attempts.
    const except = older.prepare(
      'INSERT INTO exception (subscription, position, attempts, due_at) VALUES (1, ?, ?, ?)',
    );
    except.run(3, 1, null);
    except.run(2, 2, bench.clock.now());
  });
  await older.close();
  bench.database = new Database(`${path}-older`);
  bench.broker = new Broker(bench.database, bench.clock);
  await bench.publish('new');
  const leased = bench.lease();
  expect(leased).toMatchObject([
    { text: 'old 1', position: 2, attempt: 3 },
    { text: 'old 3', position: 4, attempt: 1 },
    { text: 'new', position: 6, attempt: 1 },
  ]);
  bench.broker.deliveries.ack(bench.subscription, 4);
  expect(bench.lease()).toMatchObject([{ text: 'old 4', position: 5 }]);
  expect(await explain(bench.broker, '120000003')).toMatchObject({ inLog: true });
});
