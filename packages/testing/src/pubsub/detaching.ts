import { expect } from 'vitest';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1.Publisher.DetachSubscription. */
export const detaching = subject('detach', (fact) => {
  fact('a detached subscription stays as a name', { gap: 12 }, async ({ reader, call }) => {
    const { topic, subscription, config } = await reader();
    await call('DetachSubscription', { subscription });
    expect(await config()).toMatchObject({ detached: true, topic });
    expect(await call('ListTopicSubscriptions', { topic })).not.toHaveProperty('subscriptions.0');
  });

  fact('it has lost its messages, and can not be pulled from', { gap: 12 }, async ({ reader, call, refuses }) => {
    const { publish, subscription } = await reader();
    await publish('1');
    await call('DetachSubscription', { subscription });
    await refuses('Pull', { subscription, maxMessages: 1 }, 'FAILED_PRECONDITION');
  });

  fact('it can be deleted, also after its topic', { gap: 12 }, async ({ reader, call, refuses }) => {
    const { topic, subscription } = await reader();
    await call('DetachSubscription', { subscription });
    await call('DeleteTopic', { topic });
    await call('DeleteSubscription', { subscription });
    await refuses('GetSubscription', { subscription }, 'NOT_FOUND');
  });

  fact('a subscription that is not there can not be detached', { gap: 12 }, async ({ name, refuses }) => {
    await refuses('DetachSubscription', { subscription: name('subscriptions') }, 'NOT_FOUND');
  });
});
