// Real: `dormouse plan` as a process, and a host on a data directory of an older program.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { FirestoreIndexes, GooglePlan } from '@dormouse/gcp';
import { expect, test } from 'vitest';
import { send } from './post/send.ts';
import { dormouse, root } from './program.ts';
import { onlyJsonLine, RunningSystem } from './running-system.ts';
import { SmallSystem } from './small-system.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
const byVan = join(import.meta.dirname, 'post/by-van.ts');
const google = ['--project', 'acme-prod', '--project-number', '123456789012', '--region', 'europe-west1'];

test('the plan of the project is told in sections, what was not given by its name', async () => {
  const { code, stdout, stderr } = await dormouse(['plan']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  for (const part of [
    'casework on Google Cloud, project PROJECT, region REGION',
    '  audit.log (nobody listens)',
    /communication\.notify\.client\.sms +notify\.client +600s +by key +dead\.letter after 100/,
    /casework-intake +https:\/\/casework-intake-PROJECT_NUMBER\.REGION\.run\.app +caller +660s +0 to 4 +16/,
    /named +dueAt ascending +all of that name/,
    'messages are kept for 31 d, it never expires',
    'roles/pubsub.publisher on all 17 topics',
    'which topics a handler publishes to is not declared',
  ]) {
    expect(stdout).toMatch(part);
  }
});

test('the plan is one object, the same each time', async () => {
  const [first, second] = await Promise.all([
    dormouse(['plan', '--json', ...google]),
    dormouse(['plan', '--json', ...google]),
  ]);
  const plan = onlyJsonLine<GooglePlan>(first!.stdout, first!.stderr);
  expect(plan).toMatchObject({ version: 1, system: 'casework', project: 'acme-prod', region: 'europe-west1' });
  expect(plan.topics).toHaveLength(17);
  expect(plan.subscriptions).toHaveLength(17);
  expect(first!.stdout).not.toMatch(/PROJECT_NUMBER|\bPROJECT\b|REGION/);
  expect(second!.stdout).toBe(first!.stdout);
});

test('a plan is of whichever system’s file, at addresses of one’s own, kept as long as is said', async () => {
  const orders = join(root, 'apps/orders/system.ts');
  const own = ['--service-url', 'https://{service}.example.com', '--retention', '7d'];
  const { stdout, stderr } = await dormouse(['plan', orders, '--json', ...google, ...own]);
  const { subscriptions, services } = onlyJsonLine<GooglePlan>(stdout, stderr);
  expect(subscriptions[0]).toMatchObject({
    pushConfig: {
      pushEndpoint: 'https://orders-stock.example.com/pubsub-push',
      oidcToken: { audience: 'https://orders-stock.example.com' },
    },
    messageRetentionDuration: '604800s',
  });
  expect(services.map(({ ingress }) => ingress)).toEqual(['all', 'all', 'all', 'all']);
});

test('the indexes alone are a firestore.indexes.json', async () => {
  const { stdout } = await dormouse(['plan', '--indexes']);
  const { indexes, fieldOverrides } = JSON.parse(stdout) as FirestoreIndexes;
  expect(indexes).toContainEqual({
    collectionGroup: 'dead-letters',
    queryScope: 'COLLECTION',
    fields: [
      { fieldPath: 'tenant', order: 'ASCENDING' },
      { fieldPath: 'createdAt', order: 'DESCENDING' },
    ],
  });
  expect(fieldOverrides).toContainEqual({ collectionGroup: 'inbox', fieldPath: 'expireAt', ttl: true, indexes: [] });
});

test.each([
  [['--project', 'Acme'], /^dormouse: --project: "Acme" is none; use the id of a project.*\n$/],
  [['--project-number', 'acme'], /^dormouse: --project-number: "acme" is none; use the number that.*\n$/],
  [['--service-url', 'https://a.example/path'], /^dormouse: --service-url: .* without a path\n$/],
  [['--retention', '32d'], /^dormouse: --retention must be 10m to 31d, got "32d"\n$/],
  [['nowhere.ts'], /^dormouse: there is no system file .*nowhere\.ts\n$/],
])('%j is refused in one line that says what to do', async (args, told) => {
  expect(await dormouse(['plan', ...args])).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(told) });
});

test('a system that does not load is told in one line, by its file', async () => {
  const small = SmallSystem.in(folder, "clerk: './clerk.ts'");
  small.write('clerk.ts', 'export default 1;');
  const { code, stderr } = await dormouse(['plan', small.systemFile]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^dormouse: the system .*system\.ts does not load: \.\/clerk\.ts exports no service; .*\n$/);
});

test('what a module prints or begins when it is loaded is not waited for, nor among the answer', async () => {
  const small = SmallSystem.in(folder, "clerk: './clerk.ts'");
  small.write(
    'clerk.ts',
    `import { service } from '@dormouse/core';
console.log('hello');
setInterval(() => {}, 1000);
export default service('clerk', []);`,
  );
  const { code, stdout, stderr } = await dormouse(['plan', small.systemFile, '--json']);
  expect(code).toBe(0);
  expect(onlyJsonLine<GooglePlan>(stdout, stderr).services.map(({ service }) => service)).toEqual(['clerk', 'console']);
});

test('a subscription of an older program is brought to the plan when the host starts, with what waits there', async () => {
  const first = await RunningSystem.ofThisTest({ args: [byVan] });
  await first.program.shows(/Ctrl-C/);
  await first.run(['subscriptions', 'pause', 'van.parcel.sent']);
  await send(first, 'PA-1', {});
  await first.stop();
  const before = { ackDeadlineSeconds: 600, messageRetentionDuration: null, expirationPolicy: null };
  const database = new DatabaseSync(join(first.data, 'dormouse.db'));
  const { changes } = database
    .prepare("UPDATE subscription SET config = json_patch(config, ?) WHERE name LIKE '%/van.parcel.sent'")
    .run(JSON.stringify({ ...before, ackDeadlineSeconds: 30 }));
  database.close();
  expect(changes).toBe(1);

  const second = await RunningSystem.ofThisTest({ args: [byVan], data: first.data });
  await second.program.shows(/Ctrl-C/);
  const headers = { 'content-type': 'application/json' };
  const url = `${second.brokerUrl}/v1/projects/dormouse/subscriptions/van.parcel.sent`;
  expect(await (await fetch(url, { headers })).json()).toMatchObject({
    ackDeadlineSeconds: 600,
    messageRetentionDuration: '2678400s',
    expirationPolicy: {},
  });
  // It stays paused, and brings what waits when it is resumed.
  expect((await second.run(['subscriptions'])).stdout).toMatch(/van\.parcel\.sent +parcel\.sent +1 .*paused/);
  await second.run(['subscriptions', 'resume', 'van.parcel.sent']);
  await until('it is brought', async () => (await second.fetch('/api/workflows/PA-1')).ok);
});
