import { expect, test } from 'vitest';
import { readEnvironment } from './environment.ts';
import { googlePlanOf } from './plan.ts';

test('the environment that a plan gives a service is what the service reads', () => {
  const limits = { concurrency: 16, maxInstances: 4 };
  const subscriptions = [{ name: 'clerk.note.taken', topic: 'note.taken', ackDeadlineMs: 600_000, dormouse: true }];
  const { services, caller } = googlePlanOf(
    { system: 'Note.Book', topics: [{ name: 'note.taken' }], services: [{ name: 'clerk', limits, subscriptions }] },
    { project: 'acme-prod', projectNumber: '123456789012', region: 'europe-west1' },
  );
  expect(services.map(({ environment }) => readEnvironment({ ...environment, PORT: '8080' }))).toEqual(
    [
      { name: 'note-book-clerk', invoker: 'caller' },
      { name: 'note-book-console', invoker: 'anyone' },
    ].map(({ name, invoker }) =>
      expect.objectContaining({
        project: 'acme-prod',
        bucket: 'acme-prod-note-book-files',
        queue: 'projects/acme-prod/locations/europe-west1/queues/note-book-timers',
        serviceUrl: `https://${name}-123456789012.europe-west1.run.app`,
        serviceAccount: caller,
        invoker,
      }),
    ),
  );
});
