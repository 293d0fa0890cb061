import { dirname, join } from 'node:path';
import { type GooglePlan, googlePlanOf } from '@dormouse/gcp';
import { describeSystem } from '@dormouse/local';
import { beforeAll, expect, test } from 'vitest';

const google = { project: 'acme-prod', projectNumber: '123456789012', region: 'europe-west1' };
const accountOf = (service: string) => `serviceAccount:casework-${service}@acme-prod.iam.gserviceaccount.com`;
const agent = 'serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com';
let plan: GooglePlan;

beforeAll(async () => {
  const file = join(import.meta.dirname, '../../../apps/casework/system.ts');
  plan = googlePlanOf(await describeSystem(file, dirname(file)), google);
});

test('the plan of Casework has its 17 topics, all its subscriptions, six services and a console', () => {
  expect(plan.topics).toHaveLength(17);
  expect(plan.subscriptions.map(({ name }) => name)).toContain('communication.notify.client.sms');
  expect(new Set(plan.subscriptions.map(({ topic }) => topic)).size).toBe(16);
  expect(plan.services.map(({ name }) => name)).toEqual(
    ['intake', 'data', 'processing', 'tracking', 'admin', 'communication', 'console'].map((each) => `casework-${each}`),
  );
  expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
});

test('pushes go to Cloud Run’s own address of a service, for it and by the caller, within its time-out', () => {
  for (const { service, pushConfig, ackDeadlineSeconds } of plan.subscriptions) {
    const run = plan.services.find((each) => each.service === service)!;
    expect(run.url).toBe(`https://casework-${service}-123456789012.europe-west1.run.app`);
    expect(pushConfig).toEqual({
      pushEndpoint: `${run.url}/pubsub-push`,
      oidcToken: { serviceAccountEmail: plan.caller, audience: run.url },
    });
    expect(run.timeoutSeconds).toBeGreaterThanOrEqual(ackDeadlineSeconds + 60);
    expect(run).toMatchObject({ minInstances: 0, invoker: 'caller', ingress: 'internal' });
    expect(run.environment).toEqual({
      DORMOUSE_PLATFORM: 'gcp',
      GOOGLE_CLOUD_PROJECT: 'acme-prod',
      DORMOUSE_BUCKET: 'acme-prod-casework-files',
      DORMOUSE_QUEUE: 'projects/acme-prod/locations/europe-west1/queues/casework-timers',
      DORMOUSE_SERVICE_URL: run.url,
      DORMOUSE_SERVICE_ACCOUNT: plan.caller,
      DORMOUSE_INVOKER: 'caller',
    });
  }
});

test('each member has the roles it needs on what it needs them for, and no other', () => {
  const rolesOf = (member: string) =>
    plan.grants.filter((each) => each.member === member).map(({ role, on }) => [role, on]);
  const caller = `serviceAccounts/${plan.caller}`;
  for (const service of ['intake', 'communication', 'console']) {
    expect(rolesOf(accountOf(service))).toEqual([
      ['roles/pubsub.publisher', plan.topics.map(({ name }) => `topics/${name}`)],
      ['roles/datastore.user', ['project']],
      ['roles/storage.objectUser', ['buckets/acme-prod-casework-files']],
      ['roles/cloudtasks.enqueuer', ['queues/casework-timers']],
      ['roles/cloudtasks.viewer', ['queues/casework-timers']],
      ['roles/iam.serviceAccountUser', [caller]],
    ]);
  }
  const pushed = plan.services.filter(({ service }) => service !== 'console');
  expect(rolesOf(`serviceAccount:${plan.caller}`)).toEqual([
    ['roles/run.invoker', pushed.map(({ name }) => `services/${name}`)],
  ]);
  expect(rolesOf('allUsers')).toEqual([['roles/run.invoker', ['services/casework-console']]]);
  const forwarded = plan.subscriptions.filter(({ topic }) => topic !== 'dead.letter');
  expect(rolesOf(agent)).toEqual([
    ['roles/iam.serviceAccountTokenCreator', [caller]],
    ['roles/pubsub.publisher', ['topics/dead.letter']],
    ['roles/pubsub.subscriber', forwarded.map(({ name }) => `subscriptions/${name}`)],
  ]);
  expect(new Set(plan.grants.map(({ member }) => member)).size).toBe(10);
});

test('tokens for addresses of your own are taken too, which Cloud Run must be told', async () => {
  expect(plan.services.flatMap(({ customAudiences }) => customAudiences)).toEqual([]);
  const file = join(import.meta.dirname, '../../../apps/orders/system.ts');
  const declared = await describeSystem(file, dirname(file));
  const { services, subscriptions } = googlePlanOf(declared, {
    ...google,
    serviceUrl: 'https://{service}.example.com',
  });
  expect(services.map(({ customAudiences }) => customAudiences)).toEqual(services.map(({ url }) => [url]));
  for (const { service, pushConfig } of subscriptions) {
    const run = services.find((each) => each.service === service)!;
    expect(run.customAudiences).toContain(pushConfig.oidcToken!.audience);
  }
});

test('timers and the sweep have a queue and a schedule, and what is erased is not kept by Google', () => {
  expect(plan.queues).toMatchObject([{ name: 'casework-timers', location: 'europe-west1' }]);
  const console = plan.services.find(({ service }) => service === 'console')!;
  expect(plan.schedules).toMatchObject([
    {
      schedule: '*/5 * * * *',
      method: 'POST',
      url: `${console.url}/tick`,
      account: plan.caller,
      audience: console.url,
    },
  ]);
  expect(plan.buckets).toMatchObject([{ softDeleteSeconds: 0, versioning: false, publicAccessPrevention: 'enforced' }]);
  expect(plan.firestore.pointInTimeRecovery).toBe(false);
});

test('what the declarations do not tell is said: who publishes what, settings, images, other commands', async () => {
  expect(plan.unknown.join('\n')).toMatch(/which topics a handler publishes to is not declared/);
  expect(plan.unknown.join('\n')).toMatch(/one system a project/);
  expect(plan.unknown.join('\n')).toMatch(/a secret in its environment: DORMOUSE_ADMIN_TOKEN/);
  const file = join(import.meta.dirname, '../../../apps/orders/system.ts');
  const orders = googlePlanOf(await describeSystem(file, dirname(file)), google);
  expect(orders.unknown.join('\n')).toMatch(/service "tally" is another command.*orders-tally@acme-prod/);
  expect(orders.unknown.join('\n')).toMatch(/nobody listens to dead\.letter/);
  expect(orders.grants.filter(({ member }) => member.includes('orders-tally'))).toEqual([]);
  expect(orders.services.find(({ service }) => service === 'tally')!.environment).toEqual({
    GOOGLE_CLOUD_PROJECT: 'acme-prod',
  });
});

test('names that Google would not take are shortened, and told apart; two services of one name are refused', () => {
  const long = 'a-system-with-a-name-that-is-longer-than-google-allows';
  const limits = { concurrency: 16, maxInstances: 4 };
  const named = (...names: string[]) => ({
    system: long,
    topics: [],
    services: names.map((name) => ({ name, limits, subscriptions: [] })),
  });
  const { services } = googlePlanOf(named('first', 'second'), google);
  for (const { name, account, url } of services) {
    expect(name).toMatch(/^[a-z][a-z0-9-]{0,47}[a-z0-9]$/);
    expect(account.split('@')[0]).toMatch(/^[a-z][a-z0-9-]{4,28}[a-z0-9]$/);
    expect(new URL(url).hostname.split('.')[0]!.length).toBeLessThan(64);
  }
  expect(new Set(services.map(({ account }) => account)).size).toBe(3);
  expect(() => googlePlanOf(named('one_two', 'one-two'), google)).toThrow(
    /service "one-two" and service "one_two" would both be .* on Google Cloud; rename the service/,
  );
  expect(() => googlePlanOf(named('console'), google)).toThrow(/service "console" and service "console"/);
  expect(() => googlePlanOf(named('caller'), google)).toThrow(/service "caller" and who calls the services/);
});
