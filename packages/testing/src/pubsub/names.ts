import { expect } from 'vitest';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1 Topic.name and its siblings. */
export const names = subject('names', (fact) => {
  fact('an id is a letter, then 2 to 254 of letters, digits and -_.~+%', async ({ project, call, refuses }) => {
    for (const id of ['abc', 'A-_.~+%9', `a${'b'.repeat(254)}`]) {
      const name = `${project}/topics/${id}`;
      expect(await call('CreateTopic', { name })).toMatchObject({ name });
    }
    for (const id of ['ab', '1bc', 'a bc', 'a*bc', 'aäbc', `a${'b'.repeat(255)}`]) {
      await refuses('CreateTopic', { name: `${project}/topics/${id}` }, 'INVALID_ARGUMENT');
    }
  });

  fact('an id does not begin with "goog"', async ({ project, topic, refuses }) => {
    await refuses('CreateTopic', { name: `${project}/topics/googly` }, 'INVALID_ARGUMENT', 'googly');
    const name = `${project}/subscriptions/goog-reader`;
    await refuses('CreateSubscription', { name, topic: await topic() }, 'INVALID_ARGUMENT', 'goog-reader');
  });

  fact('a name belongs to one kind of thing in one project', async ({ project, name, topic, refuses }) => {
    await refuses('CreateTopic', { name: `${project}/subscriptions/abc` }, 'INVALID_ARGUMENT');
    const subscription = { name: `${project}/topics/abc`, topic: await topic() };
    await refuses('CreateSubscription', subscription, 'INVALID_ARGUMENT');
    await refuses('CreateSubscription', { name: name('subscriptions'), topic: 'abc' }, 'INVALID_ARGUMENT', 'abc');
  });

  fact('a name can be had once', async ({ call, refuses, reader }) => {
    const { topic, subscription } = await reader();
    await refuses('CreateTopic', { name: topic }, 'ALREADY_EXISTS');
    await refuses('CreateSubscription', { name: subscription, topic }, 'ALREADY_EXISTS');
    await call('DeleteSubscription', { subscription });
    await call('DeleteTopic', { topic });
    await call('CreateTopic', { name: topic });
    await call('CreateSubscription', { name: subscription, topic });
  });

  fact('what is not there is NOT_FOUND, whatever is asked of it', async ({ name, refuses }) => {
    const topic = name('topics');
    const subscription = name('subscriptions');
    for (const [rpc, request] of [
      ['GetTopic', { topic }],
      ['DeleteTopic', { topic }],
      ['Publish', { topic, messages: [{ data: 'aGk=' }] }],
      ['CreateSubscription', { name: subscription, topic }],
      ['GetSubscription', { subscription }],
      ['DeleteSubscription', { subscription }],
      ['Pull', { subscription, maxMessages: 1 }],
      ['ModifyPushConfig', { subscription, pushConfig: {} }],
      [
        'UpdateSubscription',
        { subscription: { name: subscription, ackDeadlineSeconds: 20 }, updateMask: 'ack_deadline_seconds' },
      ],
    ] as const) {
      await refuses(rpc, request, 'NOT_FOUND');
    }
  });

  fact('what is not there has no subscriptions and no snapshots', { gap: 35 }, async ({ name, refuses }) => {
    await refuses('ListTopicSubscriptions', { topic: name('topics') }, 'NOT_FOUND');
    await refuses('ListTopicSnapshots', { topic: name('topics') }, 'NOT_FOUND');
  });
});
