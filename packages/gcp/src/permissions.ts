import type { GooglePlan } from './plan.ts';

/** One role for one member, on these and nothing else. */
export interface Grant {
  /** As IAM names it. */
  readonly member: string;
  readonly role: string;
  /** `project`, or kind and name: `topics/data.fetch`, `serviceAccounts/…`. */
  readonly on: readonly string[];
  readonly because: string;
}

type Granting = Pick<GooglePlan, 'services' | 'topics' | 'subscriptions' | 'caller' | 'buckets' | 'queues'>;

/** Who may do what, and why. What nobody is granted here nobody needs. */
export function grantsOf(plan: Granting, projectNumber: string): Grant[] {
  const { services, topics, subscriptions, caller, buckets, queues } = plan;
  const asCaller = `serviceAccounts/${caller}`;
  const ofServices = services
    .filter(({ dormouse }) => dormouse)
    .flatMap(({ account }): Grant[] => {
      const grant = (role: string, on: readonly string[], because: string) => ({
        member: `serviceAccount:${account}`,
        role,
        on,
        because,
      });
      return [
        grant(
          'roles/pubsub.publisher',
          topics.map(({ name }) => `topics/${name}`),
          'it sends what its commits leave in the outbox, and what others left there of the same workflow',
        ),
        grant('roles/datastore.user', ['project'], 'documents, log, inbox and outbox'),
        grant(
          'roles/storage.objectUser',
          buckets.map(({ name }) => `buckets/${name}`),
          'files',
        ),
        grant(
          'roles/cloudtasks.enqueuer',
          queues.map(({ name }) => `queues/${name}`),
          'it asks for a task of each time at which a timer is due',
        ),
        grant(
          'roles/cloudtasks.viewer',
          queues.map(({ name }) => `queues/${name}`),
          'it looks whether the task of a time still waits',
        ),
        grant('roles/iam.serviceAccountUser', [asCaller], 'its tasks carry the token of the caller'),
      ];
    });

  const invoked = services.filter(({ invoker }) => invoker === 'caller');
  const open = services.filter(({ invoker }) => invoker === 'anyone');
  const agent = `serviceAccount:service-${projectNumber}@gcp-sa-pubsub.iam.gserviceaccount.com`;
  const forwarded = subscriptions.filter(({ deadLetterPolicy }) => deadLetterPolicy !== undefined);
  const deadLetterTopics = [...new Set(forwarded.map(({ deadLetterPolicy }) => deadLetterPolicy!.topic))];
  const others: Grant[] = [
    {
      member: `serviceAccount:${caller}`,
      role: 'roles/run.invoker',
      on: invoked.map(({ name }) => `services/${name}`),
      because: 'pushes and tasks are let in by Cloud Run, before anything wakes',
    },
    {
      member: 'allUsers',
      role: 'roles/run.invoker',
      on: open.map(({ name }) => `services/${name}`),
      because: 'it asks for tokens of its own, also of the sweep',
    },
    {
      member: agent,
      role: 'roles/iam.serviceAccountTokenCreator',
      on: [asCaller],
      because: 'Pub/Sub signs its pushes as the caller',
    },
    {
      member: agent,
      role: 'roles/pubsub.publisher',
      on: deadLetterTopics.map((name) => `topics/${name}`),
      because: 'Pub/Sub forwards what was never settled',
    },
    {
      member: agent,
      role: 'roles/pubsub.subscriber',
      on: forwarded.map(({ name }) => `subscriptions/${name}`),
      because: 'Pub/Sub acks what it has forwarded',
    },
  ];
  return [...ofServices, ...others.filter(({ on }) => on.length > 0)];
}
