import type { AddressInfo } from 'node:net';
import { createRestApi, createRestServer } from '@dormouse/broker';
import { v1 } from '@google-cloud/pubsub';
import { expect, onTestFinished, test } from 'vitest';
import { LocalStores } from './local-stores.ts';

/** Sends no credentials, as is right before an emulator. */
const anonymous = {
  getRequestHeaders: async () => new Headers(),
  request: async () => {
    throw new Error('asks for nothing');
  },
  fetch: (...args: Parameters<typeof fetch>) => fetch(...args),
};

test('Google’s own clients of the API, over REST, find what they expect', async () => {
  const stores = LocalStores.inMemory();
  const server = createRestServer(createRestApi(stores.broker));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  // biome-ignore lint/suspicious/noExplicitAny: of google-auth-library only what is used here
  const options: any = { fallback: true, protocol: 'http', servicePath: '127.0.0.1', port, authClient: anonymous };
  const publisher = new v1.PublisherClient({ ...options, projectId: 'test' });
  const subscriber = new v1.SubscriberClient({ ...options, projectId: 'test' });
  onTestFinished(async () => {
    await Promise.all([publisher.close(), subscriber.close()]);
    server.closeAllConnections();
    server.close();
    await stores[Symbol.asyncDispose]();
  });

  const topic = 'projects/test/topics/news';
  const subscription = 'projects/test/subscriptions/reader';
  const [made] = await publisher.createTopic({ name: topic, labels: { a: 'b' } });
  expect(made).toMatchObject({ name: topic, labels: { a: 'b' }, state: 'ACTIVE' });
  await publisher.createTopic({ name: 'projects/test/topics/other' });
  expect((await publisher.listTopics({ project: 'projects/test' }))[0]).toHaveLength(2);
  await subscriber.createSubscription({ name: subscription, topic, retryPolicy: { minimumBackoff: { seconds: 10 } } });
  const [changed] = await subscriber.updateSubscription({
    subscription: { name: subscription, ackDeadlineSeconds: 30 },
    updateMask: { paths: ['ack_deadline_seconds'] },
  });
  expect(changed).toMatchObject({ ackDeadlineSeconds: 30, retryPolicy: { maximumBackoff: { seconds: '600' } } });
  const [{ messageIds }] = await publisher.publish({
    topic,
    messages: [{ data: Buffer.from([0, 255]), attributes: { k: 'v' }, orderingKey: 'o' }],
  });
  const [{ receivedMessages }] = await subscriber.pull({ subscription, maxMessages: 5 });
  const [{ ackId, message }] = receivedMessages as [{ ackId: string; message: Record<string, unknown> }];
  expect(message).toMatchObject({ messageId: messageIds![0], attributes: { k: 'v' }, orderingKey: 'o' });
  expect(Buffer.from(message.data as Uint8Array)).toEqual(Buffer.from([0, 255]));
  await subscriber.modifyAckDeadline({ subscription, ackIds: [ackId], ackDeadlineSeconds: 60 });
  await subscriber.acknowledge({ subscription, ackIds: [ackId] });
  await subscriber.deleteSubscription({ subscription });
  await expect(subscriber.getSubscription({ subscription })).rejects.toMatchObject({ code: 5 });
  await publisher.deleteTopic({ topic });
});
