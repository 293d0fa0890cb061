import { expect } from 'vitest';
import { until } from '../until.ts';
import { textsOf } from './pubsub.ts';
import { subject } from './subject.ts';

const dayMs = 86_400_000;
const hourMs = 3_600_000;

/** Source: google.pubsub.v1.Subscriber Seek and CreateSnapshot, https://cloud.google.com/pubsub/docs/replay-overview */
export const seeking = subject('seek and snapshots', (fact, target) => {
  /** Moments between publishes. */
  const timeIn = (epochMs: number) => new Date(epochMs).toISOString();

  fact('a seek into the future acks all there is', async ({ reader, call, server }) => {
    const { publish, pull, subscription } = await reader();
    await publish('1', '2');
    await call('Seek', { subscription, time: timeIn(server.now() + hourMs) });
    expect(await pull()).toEqual([]);
  });

  fact('a seek to a time brings again what was published after it, and acks what was before', async (pubsub) => {
    const { server, call } = pubsub;
    const { publish, next, take, pull, subscription } = await pubsub.reader({ retainAckedMessages: true });
    await publish('1');
    await server.pass(50);
    const time = timeIn(server.now());
    await server.pass(50);
    await publish('2');
    await publish('3');
    const acked = [await next(), await next()];
    expect(acked).toHaveLength(2);
    await call('Seek', { subscription, time });
    expect(textsOf(await take(2)).toSorted()).toEqual(['2', '3']);
    expect(await pull()).toEqual([]);
  });

  fact('acked messages are kept for a seek only where they are retained', async ({ reader, call, server }) => {
    const time = timeIn(server.now() - 1_000);
    const { publish, next, pull, subscription } = await reader();
    await publish('1');
    expect(await next()).toBe('1');
    await call('Seek', { subscription, time });
    expect(await pull()).toEqual([]);
  });

  fact('a topic that retains messages lets a subscription seek to before it was made', { gap: 44 }, async (pubsub) => {
    const { server, call } = pubsub;
    const time = timeIn(server.now() - 1_000);
    const topic = await pubsub.topic({ messageRetentionDuration: '600s' });
    await pubsub.publish(topic, { data: 'aGk=' });
    const { subscription, take, pull } = await pubsub.reader({ topic });
    expect(await pull()).toEqual([]);
    await call('Seek', { subscription, time });
    expect(textsOf(await take())).toEqual(['hi']);
  });

  fact('what is leased when a subscription is sought comes again, or not, as all the rest', async (pubsub) => {
    const { server, call } = pubsub;
    const { publish, take, pull, next, subscription } = await pubsub.reader({ retainAckedMessages: true });
    const time = timeIn(server.now() - 1_000);
    await publish('1');
    await take();
    await call('Seek', { subscription, time });
    expect(await next()).toBe('1');
    await publish('2');
    await take();
    await call('Seek', { subscription, time: timeIn(server.now() + hourMs) });
    await server.pass(11_000);
    expect(await pull()).toEqual([]);
  });

  fact('a snapshot keeps what was not acked, and all that is published after it', async ({ reader, name, call }) => {
    const { publish, take, ack, next, pull, subscription } = await reader();
    await publish('1', '2');
    const received = await take(2);
    const one = received.find((each) => textsOf([each])[0] === '1')!;
    await ack(one);
    const snapshot = name('snapshots');
    await call('CreateSnapshot', { name: snapshot, subscription });
    await ack(...received);
    await publish('3');
    expect(await next()).toBe('3');
    await call('Seek', { subscription, snapshot });
    expect(textsOf(await take(2)).toSorted()).toEqual(['2', '3']);
    expect(await pull()).toEqual([]);
  });

  fact(
    'a snapshot can be sought to by another subscription of its topic, also when its own is gone',
    { gap: 45 },
    async (pubsub) => {
      const { call } = pubsub;
      const one = await pubsub.reader();
      await one.publish('1');
      const snapshot = pubsub.name('snapshots');
      await call('CreateSnapshot', { name: snapshot, subscription: one.subscription });
      await call('DeleteSubscription', { subscription: one.subscription });
      const { subscription, next } = await pubsub.reader({ topic: one.topic });
      await call('Seek', { subscription, snapshot });
      expect(await next()).toBe('1');
    },
  );

  fact('a snapshot is no good for another topic', async ({ reader, name, call, refuses }) => {
    const [one, other] = [await reader(), await reader()];
    const snapshot = name('snapshots');
    await call('CreateSnapshot', { name: snapshot, subscription: one.subscription });
    await refuses('Seek', { subscription: other.subscription, snapshot }, 'FAILED_PRECONDITION');
  });

  fact('a snapshot is kept, listed and deleted', async ({ reader, project, name, call, refuses, server }) => {
    const { topic, subscription } = await reader();
    const snapshot = name('snapshots');
    const made = await call('CreateSnapshot', { name: snapshot, subscription, labels: { team: 'a' } });
    expect(made).toMatchObject({ name: snapshot, topic });
    const lastsMs = Date.parse(made.expireTime as string) - server.now();
    expect(Math.abs(lastsMs - 7 * dayMs)).toBeLessThan(hourMs);
    expect(await call('GetSnapshot', { snapshot })).toEqual(made);
    expect(await call('ListSnapshots', { project })).toEqual({ snapshots: [made] });
    expect(await call('ListTopicSnapshots', { topic })).toEqual({ snapshots: [snapshot] });
    await refuses('CreateSnapshot', { name: snapshot, subscription }, 'ALREADY_EXISTS');
    await call('DeleteSnapshot', { snapshot });
    await refuses('GetSnapshot', { snapshot }, 'NOT_FOUND');
    await refuses('DeleteSnapshot', { snapshot }, 'NOT_FOUND');
    await refuses('Seek', { subscription, snapshot }, 'NOT_FOUND');
    await refuses('CreateSnapshot', { name: snapshot, subscription: name('subscriptions') }, 'NOT_FOUND');
  });

  fact('labels of a snapshot can be changed', { gap: 13 }, async ({ reader, name, call, refuses }) => {
    const { subscription } = await reader();
    const snapshot = name('snapshots');
    await call('CreateSnapshot', { name: snapshot, subscription, labels: { team: 'a' } });
    await call('UpdateSnapshot', { snapshot: { name: snapshot, labels: { team: 'b' } }, updateMask: 'labels' });
    expect(await call('GetSnapshot', { snapshot })).toMatchObject({ labels: { team: 'b' } });
    const update = { snapshot: { name: snapshot, topic: 'x' }, updateMask: 'topic' };
    await refuses('UpdateSnapshot', update, 'INVALID_ARGUMENT');
  });

  fact(
    'a snapshot lasts 7 days less the age of what it keeps, an hour at least',
    { takesDays: true },
    async (pubsub) => {
      const { call, refuses, server } = pubsub;
      const { publish, subscription } = await pubsub.reader();
      await publish('1');
      await server.pass(2 * dayMs);
      const { expireTime } = await call('CreateSnapshot', { name: pubsub.name('snapshots'), subscription });
      expect(Math.abs(Date.parse(expireTime as string) - server.now() - 5 * dayMs)).toBeLessThan(hourMs);
      await server.pass(5 * dayMs - hourMs / 2);
      await refuses('CreateSnapshot', { name: pubsub.name('snapshots'), subscription }, 'FAILED_PRECONDITION');
    },
  );

  fact(
    'a snapshot whose time is over is gone',
    { takesDays: true },
    async ({ reader, name, call, refuses, server }) => {
      const { subscription } = await reader();
      const snapshot = name('snapshots');
      await call('CreateSnapshot', { name: snapshot, subscription });
      await server.pass(7 * dayMs + hourMs);
      await refuses('GetSnapshot', { snapshot }, 'NOT_FOUND');
      await refuses('Seek', { subscription, snapshot }, 'NOT_FOUND');
    },
  );

  fact('a seek is to a time or to a snapshot', async ({ reader, refuses, name }) => {
    const { subscription } = await reader();
    await refuses('Seek', { subscription }, 'INVALID_ARGUMENT');
    await refuses('Seek', { subscription: name('subscriptions'), time: timeIn(0) }, 'NOT_FOUND');
  });

  if (!target.isGrpc) return;

  fact('a snapshot that was given no name gets one', { gap: 29 }, async ({ reader, call, project }) => {
    const { subscription } = await reader();
    const { name } = await call('CreateSnapshot', { subscription });
    expect(name).toMatch(`${project}/snapshots/`);
  });

  fact('an open stream is sought with its subscription', async ({ reader, call, server, stream }) => {
    const { publish, subscription } = await reader({ retainAckedMessages: true });
    const time = timeIn(server.now() - 1_000);
    const { received, send } = stream({ subscription, streamAckDeadlineSeconds: 10 });
    await publish('1');
    await until('the message', () => received.length === 1);
    send({ ackIds: [received[0]!.ackId] });
    await server.pass(100);
    await call('Seek', { subscription, time });
    await until('the message again', () => received.length === 2);
    expect(textsOf(received)).toEqual(['1', '1']);
  });
});
