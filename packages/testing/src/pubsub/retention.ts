import { expect } from 'vitest';
import type { WireError } from '../pubsub-wire.ts';
import { until } from '../until.ts';
import { subject } from './subject.ts';

const minuteMs = 60_000;
const dayMs = 86_400_000;

/** Source: google.pubsub.v1 Topic.message_retention_duration, Subscription.message_retention_duration and expiration_policy. */
export const retention = subject('retention and expiry', (fact) => {
  fact('a subscription keeps messages for 7 days and expires after 31', { gap: 20 }, async ({ reader }) => {
    expect(await (await reader()).config()).toMatchObject({
      messageRetentionDuration: '604800s',
      expirationPolicy: { ttl: '2678400s' },
    });
  });

  fact('retention is 10 minutes to 31 days', { gap: 40 }, async ({ topic, reader, name, refuses, call }) => {
    const made = { name: name('subscriptions'), topic: await topic() };
    for (const messageRetentionDuration of ['599s', '2678401s']) {
      await refuses('CreateSubscription', { ...made, messageRetentionDuration }, 'INVALID_ARGUMENT');
      await refuses('CreateTopic', { name: name('topics'), messageRetentionDuration }, 'INVALID_ARGUMENT');
    }
    for (const messageRetentionDuration of ['600s', '2678400s']) {
      expect(await (await reader({ messageRetentionDuration })).config()).toMatchObject({ messageRetentionDuration });
      const made = await topic({ messageRetentionDuration });
      expect(await call('GetTopic', { topic: made })).toMatchObject({ messageRetentionDuration });
    }
  });

  fact('a subscription says how long its topic keeps messages', { gap: 20 }, async ({ topic, reader }) => {
    const { config } = await reader({ topic: await topic({ messageRetentionDuration: '1200s' }) });
    expect(await config()).toMatchObject({ topicMessageRetentionDuration: '1200s' });
  });

  fact(
    'what was not acked within the retention does not come any more',
    { gap: 19, takesDays: true },
    async (pubsub) => {
      const { publish, next, pull } = await pubsub.reader({ messageRetentionDuration: '600s' });
      await publish('old');
      await pubsub.server.pass(9 * minuteMs);
      await publish('young');
      await pubsub.server.pass(2 * minuteMs);
      expect(await next()).toBe('young');
      expect(await pull()).toEqual([]);
    },
  );

  fact('a subscription that nobody uses expires', { takesDays: true }, async ({ reader, server, call }) => {
    const used = await reader({ expirationPolicy: { ttl: '86400s' }, messageRetentionDuration: '600s' });
    const { subscription } = await reader({
      topic: used.topic,
      expirationPolicy: { ttl: '86400s' },
      messageRetentionDuration: '600s',
    });
    const eternal = await reader({ topic: used.topic, expirationPolicy: {} });
    await until('a subscription that is gone', async () => {
      await used.pull();
      await server.pass(dayMs / 4);
      return call('GetSubscription', { subscription }).then(
        () => false,
        ({ status }: WireError) => status === 'NOT_FOUND',
      );
    });
    await used.config();
    await eternal.config();
    expect(await call('ListTopicSubscriptions', { topic: used.topic })).toEqual({
      subscriptions: [used.subscription, eternal.subscription].toSorted(),
    });
  });

  fact('expiry can be changed, and is a day at least', { gap: 16 }, async ({ reader, refuses }) => {
    const { config, update, subscription } = await reader({ expirationPolicy: {}, messageRetentionDuration: '600s' });
    expect((await config()).expirationPolicy).toEqual({});
    await update({ expirationPolicy: { ttl: '86400s' } }, 'expiration_policy');
    expect((await config()).expirationPolicy).toEqual({ ttl: '86400s' });
    const changed = { name: subscription, expirationPolicy: { ttl: '86399s' } };
    await refuses('UpdateSubscription', { subscription: changed, updateMask: 'expiration_policy' }, 'INVALID_ARGUMENT');
  });
});
