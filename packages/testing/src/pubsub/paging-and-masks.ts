import { expect } from 'vitest';
import type { Json } from '../pubsub-wire.ts';
import { subject } from './subject.ts';

/** Source: google.pubsub.v1, https://google.aip.dev/158 and 134. */
export const pagingAndMasks = subject('pages and masks', (fact, target) => {
  fact('topics are listed in pages, each once', async ({ project, call }) => {
    const names = Array.from({ length: 5 }, (_, index) => `${project}/topics/t-${index}`);
    for (const name of names) await call('CreateTopic', { name });
    const listed: unknown[] = [];
    const sizes: number[] = [];
    let pageToken = '';
    do {
      const page = await call('ListTopics', { project, pageSize: 2, pageToken });
      listed.push(...(page.topics as Json[]).map(({ name }) => name));
      sizes.push((page.topics as Json[]).length);
      pageToken = (page.nextPageToken as string | undefined) ?? '';
    } while (pageToken !== '');
    expect(listed.toSorted()).toEqual(names);
    expect(sizes).toEqual([2, 2, 1]);
  });

  fact('subscriptions are listed of one project, whole', async ({ project, reader, call }) => {
    const one = await reader({ ackDeadlineSeconds: 33 });
    const { subscriptions } = await call('ListSubscriptions', { project });
    expect(subscriptions).toMatchObject([{ name: one.subscription, topic: one.topic, ackDeadlineSeconds: 33 }]);
    expect(await call('ListSubscriptions', { project: `${project}-x` })).not.toHaveProperty('subscriptions.0');
  });

  fact('a page token or size that is none is refused', { gap: 33 }, async ({ project, topic, refuses }) => {
    await topic();
    await refuses('ListTopics', { project, pageToken: 'nonsense' }, 'INVALID_ARGUMENT', 'nonsense');
    await refuses('ListTopics', { project, pageSize: -1 }, 'INVALID_ARGUMENT', '-1');
  });

  fact('a mask changes what it names and nothing else', async ({ reader }) => {
    const { config, update } = await reader({ ackDeadlineSeconds: 20, retryPolicy: { minimumBackoff: '1s' } });
    const given = { ackDeadlineSeconds: 30, retryPolicy: { minimumBackoff: '3s', maximumBackoff: '4s' } };
    await update(given, 'ack_deadline_seconds');
    expect(await config()).toMatchObject({ ackDeadlineSeconds: 30, retryPolicy: { minimumBackoff: '1s' } });
  });

  fact('what a mask names and the request leaves out becomes the default', async ({ reader }) => {
    const { config, update } = await reader({ ackDeadlineSeconds: 20, retryPolicy: { minimumBackoff: '1s' } });
    await update({}, 'ack_deadline_seconds,retry_policy');
    expect(await config()).toMatchObject({ ackDeadlineSeconds: 10 });
    expect(await config()).not.toHaveProperty('retryPolicy');
  });

  fact('labels can be changed by a mask', { gap: 15 }, async ({ reader }) => {
    const { config, update } = await reader({ labels: { team: 'a' } });
    await update({ labels: { team: 'b' } }, 'labels');
    expect(await config()).toMatchObject({ labels: { team: 'b' } });
    await update({}, 'labels');
    expect(await config()).not.toHaveProperty('labels');
  });

  fact('a mask without names, or with one that is none or can not change, is refused', async ({ reader, refuses }) => {
    const { subscription, topic } = await reader();
    const changed = { name: subscription, topic, ackDeadlineSeconds: 20 };
    for (const updateMask of ['', 'name', 'topic', 'nonsense']) {
      await refuses('UpdateSubscription', { subscription: changed, updateMask }, 'INVALID_ARGUMENT');
    }
  });

  // Between JSON and gRPC the names change their form.
  if (target.isGrpc) return;

  fact('a mask is of names in either form', async ({ reader }) => {
    const { config, update } = await reader();
    await update({ ackDeadlineSeconds: 30 }, 'ackDeadlineSeconds');
    await update({ retryPolicy: { minimumBackoff: '3s' } }, 'retry_policy');
    expect(await config()).toMatchObject({ ackDeadlineSeconds: 30, retryPolicy: { minimumBackoff: '3s' } });
  });
});
