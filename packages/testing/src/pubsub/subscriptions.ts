import { expect } from 'vitest';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1.Subscriber. */
export const subscriptions = subject('subscriptions', (fact, target) => {
  fact('what was left out of a subscription is filled in', async ({ reader }) => {
    const { config, topic, subscription } = await reader();
    expect(await config()).toMatchObject({ name: subscription, topic, pushConfig: {}, ackDeadlineSeconds: 10 });
  });

  fact('a subscription says that it is active', { gap: 20 }, async ({ reader }) => {
    expect(await (await reader()).config()).toMatchObject({ state: 'ACTIVE' });
  });

  fact('a subscription is kept as it was made', async ({ reader }) => {
    const { config } = await reader({
      labels: { team: 'a' },
      ackDeadlineSeconds: 42,
      filter: 'attributes:kind',
      retryPolicy: { minimumBackoff: '1.500s' },
    });
    expect(await config()).toMatchObject({
      labels: { team: 'a' },
      ackDeadlineSeconds: 42,
      filter: 'attributes:kind',
      retryPolicy: { minimumBackoff: '1.500s', maximumBackoff: '600s' },
    });
  });

  fact('each has a cursor of its own', async ({ reader }) => {
    const one = await reader();
    const other = await reader({ topic: one.topic });
    await one.publish('1');
    expect(await one.next()).toBe('1');
    expect(await other.next()).toBe('1');
  });

  fact('one sees nothing published before it was made', async ({ reader }) => {
    const one = await reader();
    await one.publish('1');
    const late = await reader({ topic: one.topic });
    await one.publish('2');
    expect(await late.next()).toBe('2');
    expect(await late.pull()).toEqual([]);
  });

  fact('one that was deleted is gone, and its name free for one that knows nothing of it', async (pubsub) => {
    const reader = await pubsub.reader();
    const { topic, subscription } = reader;
    await reader.publish('1');
    await pubsub.call('DeleteSubscription', { subscription });
    await pubsub.refuses('Pull', { subscription, maxMessages: 1 }, 'NOT_FOUND');
    await pubsub.call('CreateSubscription', { name: subscription, topic });
    await reader.publish('2');
    expect(await reader.next()).toBe('2');
    expect(await reader.pull()).toEqual([]);
  });

  fact('deadlines and backoffs out of bounds are refused', { gap: 21 }, async ({ topic, name, refuses }) => {
    const made = { name: name('subscriptions'), topic: await topic() };
    for (const config of [
      { ackDeadlineSeconds: 9 },
      { ackDeadlineSeconds: 601 },
      { ackDeadlineSeconds: -1 },
      { retryPolicy: { minimumBackoff: '601s' } },
      { retryPolicy: { minimumBackoff: '5s', maximumBackoff: '4s' } },
      { pushConfig: { pushEndpoint: 'ftp://x' } },
      { pushConfig: { attributes: { a: 'b' } } },
    ]) {
      await refuses('CreateSubscription', { ...made, ...config }, 'INVALID_ARGUMENT');
    }
  });

  // Over REST there is always a name, in the path.
  if (target.isGrpc) {
    fact('one that was given no name gets one', async ({ topic, call, project }) => {
      const { name } = await call('CreateSubscription', { topic: await topic() });
      expect(name).toMatch(`${project}/subscriptions/`);
    });
  }

  fact('a pushed subscription can not be pulled from', { gap: 36 }, async ({ reader, refuses }) => {
    const { subscription } = await reader({ pushConfig: { pushEndpoint: 'http://127.0.0.1:9/' } });
    await refuses('Pull', { subscription, maxMessages: 1, returnImmediately: true }, 'FAILED_PRECONDITION');
  });

  fact('a pushed subscription can be made one that is pulled from', async ({ reader, call }) => {
    const { subscription, config, publish, next } = await reader({
      pushConfig: { pushEndpoint: 'http://127.0.0.1:9/' },
    });
    await call('ModifyPushConfig', { subscription, pushConfig: {} });
    expect((await config()).pushConfig ?? {}).toEqual({});
    await publish('1');
    expect(await next()).toBe('1');
  });
});
