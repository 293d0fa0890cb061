import { expect } from 'vitest';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1.Publisher. */
export const topics = subject('topics', (fact) => {
  fact('a topic is kept as it was made', async ({ name, call }) => {
    const topic = { name: name('topics'), labels: { team: 'a', stage: 'test' } };
    expect(await call('CreateTopic', topic)).toMatchObject(topic);
    expect(await call('GetTopic', { topic: topic.name })).toMatchObject(topic);
  });

  fact('a topic says that it is active', { gap: 20 }, async ({ topic, call }) => {
    expect(await call('GetTopic', { topic: await topic() })).toMatchObject({ state: 'ACTIVE' });
  });

  fact('labels are of lower-case letters, digits, - and _, 63 of them, and at most 64', { gap: 22 }, async (pubsub) => {
    const { name, call, refuses } = pubsub;
    await call('CreateTopic', { name: name('topics'), labels: { 'a-b_9': 'é-_9', ['k'.repeat(63)]: '' } });
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`key-${index}`, '']));
    for (const labels of [
      { Team: 'a' },
      { team: 'A' },
      { '9team': 'a' },
      { team: 'a'.repeat(64) },
      { '': 'a' },
      many,
    ]) {
      await refuses('CreateTopic', { name: name('topics'), labels }, 'INVALID_ARGUMENT');
    }
  });

  fact('a mask changes the labels it names, and takes them away', { gap: 15 }, async ({ topic, call }) => {
    const name = await topic({ labels: { team: 'a' } });
    await call('UpdateTopic', { topic: { name, labels: { team: 'b', more: 'c' } }, updateMask: 'labels' });
    expect(await call('GetTopic', { topic: name })).toMatchObject({ labels: { team: 'b', more: 'c' } });
    await call('UpdateTopic', { topic: { name }, updateMask: 'labels' });
    expect(await call('GetTopic', { topic: name })).not.toHaveProperty('labels');
  });

  fact('where messages may be stored is kept', async ({ topic, call }) => {
    const messageStoragePolicy = { allowedPersistenceRegions: ['europe-west3'] };
    const name = await topic({ messageStoragePolicy });
    expect(await call('GetTopic', { topic: name })).toMatchObject({ messageStoragePolicy });
  });

  fact('a topic lists what is subscribed to it', async ({ reader, call }) => {
    const one = await reader();
    const other = await reader({ topic: one.topic });
    await reader();
    const { subscriptions } = (await call('ListTopicSubscriptions', { topic: one.topic })) as {
      subscriptions: string[];
    };
    expect(subscriptions.toSorted()).toEqual([one.subscription, other.subscription].toSorted());
  });

  fact('a deleted topic takes no more, and its subscriptions keep what they have', async (pubsub) => {
    const reader = await pubsub.reader();
    const { topic } = reader;
    await reader.publish('1');
    await pubsub.call('DeleteTopic', { topic });
    await pubsub.refuses('Publish', { topic, messages: [{ data: 'aGk=' }] }, 'NOT_FOUND');
    await pubsub.refuses('GetTopic', { topic }, 'NOT_FOUND');
    expect(await reader.config()).toMatchObject({ topic: '_deleted-topic_' });
    expect(await reader.next()).toBe('1');
  });

  fact('a topic with the name of a deleted one is another', async (pubsub) => {
    const reader = await pubsub.reader();
    const { topic } = reader;
    await pubsub.call('DeleteTopic', { topic });
    await pubsub.call('CreateTopic', { name: topic });
    const other = await pubsub.reader({ topic });
    await other.publish('1');
    expect(await other.next()).toBe('1');
    expect(await reader.pull()).toEqual([]);
    expect(await reader.config()).toMatchObject({ topic: '_deleted-topic_' });
  });
});
