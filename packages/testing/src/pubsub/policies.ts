import { expect } from 'vitest';
import { subject } from './subject.ts';

const bindings = [{ role: 'roles/pubsub.viewer', members: ['user:a@example.com'] }];

/** Source: google.iam.v1.IAMPolicy. */
export const policies = subject('IAM', (fact) => {
  fact('a policy is kept, of topics and of subscriptions', { gap: 14 }, async ({ reader, call }) => {
    const { topic, subscription } = await reader();
    for (const resource of [topic, subscription]) {
      expect(await call('GetIamPolicy', { resource })).not.toHaveProperty('bindings.0');
      const { etag } = await call('SetIamPolicy', { resource, policy: { bindings } });
      expect(await call('GetIamPolicy', { resource })).toMatchObject({ bindings, etag });
    }
  });

  fact('a stale policy is not written over a newer one', { gap: 14 }, async ({ topic, call, refuses }) => {
    const resource = await topic();
    const { etag } = await call('SetIamPolicy', { resource, policy: { bindings } });
    await call('SetIamPolicy', { resource, policy: { bindings: [], etag } });
    await refuses('SetIamPolicy', { resource, policy: { bindings, etag } }, 'ABORTED');
  });

  fact('permissions can be tried, also of what is not there', { gap: 14 }, async ({ topic, name, call }) => {
    const permissions = ['pubsub.topics.publish'];
    expect(await call('TestIamPermissions', { resource: await topic(), permissions })).toEqual({ permissions });
    const missing = await call('TestIamPermissions', { resource: name('topics'), permissions });
    expect(missing).not.toHaveProperty('permissions.0');
  });

  fact('what is not there has no policy', { gap: 14 }, async ({ name, refuses }) => {
    const resource = name('topics');
    await refuses('GetIamPolicy', { resource }, 'NOT_FOUND');
    await refuses('SetIamPolicy', { resource, policy: { bindings } }, 'NOT_FOUND');
  });

  fact('a policy goes with what it is of', { gap: 14 }, async ({ topic, call }) => {
    const name = await topic();
    await call('SetIamPolicy', { resource: name, policy: { bindings } });
    await call('DeleteTopic', { topic: name });
    await call('CreateTopic', { name });
    expect(await call('GetIamPolicy', { resource: name })).not.toHaveProperty('bindings.0');
  });
});
