// Real: `dormouse provision` as a process, against our broker as a process and Google's emulator.
import { Emulator, findEmulator, skipWithout } from '@dormouse/testing';
import { expect, onTestFinished, test } from 'vitest';
import { dormouse, Program } from './program.ts';
import { onlyJsonLine } from './running-system.ts';

const to = [
  'provision',
  '--platform',
  'gcp',
  '--project',
  'acme-prod',
  '--service-url',
  'https://{service}.example.com',
];

async function ourBroker(): Promise<string> {
  const broker = Program.dormouse(['broker', '--port', '0', '--memory']);
  onTestFinished(() => broker.kill());
  return (await broker.shows(/^PUBSUB_EMULATOR_HOST=(\S+)$/m))[1]!;
}

const run = (address: string, ...args: string[]) =>
  dormouse([...to, ...args], { environment: { PUBSUB_EMULATOR_HOST: address } });

async function call(address: string, method: string, path: string, body?: unknown) {
  const headers = { 'content-type': 'application/json' };
  const url = `http://${address}/v1/projects/acme-prod/${path}`;
  const answer = await fetch(url, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
  return (await answer.json()) as Record<string, unknown>;
}

test('Casework is provisioned on our broker: shown first, then done, and again there is nothing to do', async () => {
  const address = await ourBroker();
  const dry = await run(address, '--dry-run');
  expect(dry).toMatchObject({ code: 0, stderr: '' });
  expect(dry.stdout).toMatch(/^create +topic +workflow\.initiate$/m);
  expect(dry.stdout).toMatch(/17 topics and 17 subscriptions in acme-prod: 34 to be created\n$/);
  expect(await call(address, 'GET', 'topics')).toEqual({});

  const first = await run(address);
  expect(first).toMatchObject({ code: 0, stderr: '' });
  expect(first.stdout).toMatch(/^create +subscription +communication\.notify\.client\.sms$/m);
  expect(first.stdout).toMatch(/: 34 created\n$/);
  expect(await call(address, 'GET', 'subscriptions/intake.workflow.initiate')).toMatchObject({
    ackDeadlineSeconds: 600,
    messageRetentionDuration: '2678400s',
    expirationPolicy: {},
    deadLetterPolicy: { deadLetterTopic: 'projects/acme-prod/topics/dead.letter', maxDeliveryAttempts: 100 },
    pushConfig: {
      pushEndpoint: 'https://casework-intake.example.com/pubsub-push',
      oidcToken: {
        serviceAccountEmail: 'casework-caller@acme-prod.iam.gserviceaccount.com',
        audience: 'https://casework-intake.example.com',
      },
    },
  });
  expect(await run(address)).toMatchObject({
    code: 0,
    stdout: '17 topics and 17 subscriptions in acme-prod are as planned; nothing was done\n',
  });

  await call(address, 'PATCH', 'subscriptions/data.data.fetch', {
    subscription: { ackDeadlineSeconds: 20 },
    updateMask: 'ackDeadlineSeconds',
  });
  const mended = await run(address, '--json');
  const { changes, ...rest } = onlyJsonLine<{ changes: { action: string }[] }>(mended.stdout, mended.stderr);
  expect(rest).toEqual({ project: 'acme-prod', dryRun: false, undeclared: [] });
  expect(changes.filter(({ action }) => action !== 'same')).toEqual([
    {
      kind: 'subscription',
      name: 'data.data.fetch',
      action: 'update',
      fields: [{ field: 'ackDeadlineSeconds', from: 20, to: 600 }],
    },
  ]);
});

test('a subscription that the system does not declare any more is told, with what to do about it', async () => {
  const address = await ourBroker();
  await run(address);
  const { name, ...kept } = await call(address, 'GET', 'subscriptions/data.data.fetch');
  const filter = 'NOT attributes:dormouse-to OR attributes.dormouse-to = "data.data.get"';
  await call(address, 'PUT', 'subscriptions/data.data.get', { ...kept, filter });
  const { code, stdout } = await run(address);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^left +subscription +data\.data\.get\n.*gcloud pubsub subscriptions delete data\.data\.get/m);
  expect(stdout).toMatch(/are as planned; nothing was done\n$/);
});

test('a subscription with another filter is refused by name with the remedy, and nothing else is done', async () => {
  const address = await ourBroker();
  const topic = 'projects/acme-prod/topics/data.fetch';
  await call(address, 'PUT', 'topics/data.fetch', {});
  await call(address, 'PUT', 'subscriptions/data.data.fetch', { topic, filter: 'attributes:mine' });
  const { code, stdout, stderr } = await run(address);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(
    /^dormouse: subscription "data\.data\.fetch" exists with the filter "attributes:mine", which nobody can change; .*delete it.*\n$/,
  );
  expect(await call(address, 'GET', 'topics')).toMatchObject({ topics: [{ name: topic }] });
  const dry = await run(address, '--dry-run');
  expect(dry.code).toBe(1);
  expect(dry.stdout).toMatch(/^refused +subscription +data\.data\.fetch\n +filter: "attributes:mine" -> "NOT /m);
});

const found = findEmulator('pubsub');
if ('missing' in found) skipWithout('Pub/Sub', found.missing, test.skip);
else {
  test('Casework is provisioned on Google’s emulator, and again there is nothing to do', async () => {
    using emulator = await Emulator.start(found);
    expect((await run(emulator.address)).stderr).toMatch(
      /^dormouse: Pub\/Sub PUT .*message_retention_duration out of bounds.*\n$/,
    );
    expect((await run(emulator.address, '--retention', '7d')).stdout).toMatch(/17 created, 17 as planned\n$/);
    expect((await run(emulator.address, '--retention', '7d')).stdout).toMatch(/are as planned; nothing was done\n$/);
  });
}

test.each([
  [['--platform', 'mars'], /^dormouse: provision needs a --platform: gcp\n$/],
  [['--platform', 'local'], /^dormouse: a local host makes its topics and subscriptions by itself when it starts.*\n$/],
  [['--platform', 'gcp'], /^dormouse: provision needs a --project, or GOOGLE_CLOUD_PROJECT\n$/],
  [
    ['--platform', 'gcp', '--project', 'acme-prod'],
    /^dormouse: provision must know where pushes go: .*--service-url\n$/,
  ],
])('%j: what is missing is told', async (args, told) => {
  expect(await dormouse(['provision', ...args])).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(told),
  });
});

test('where there is no access token, and where nobody answers, one line says what to do', async () => {
  const noToken = await dormouse(to, { environment: { GCE_METADATA_HOST: '127.0.0.1:9' } });
  expect(noToken.stderr).toMatch(/^dormouse: there is no access token.*GOOGLE_OAUTH_ACCESS_TOKEN.*\n$/);
  const nobody = await run('127.0.0.1:9');
  expect(nobody.stderr).toMatch(/^dormouse: UNAVAILABLE: GET 127\.0\.0\.1:9.* was not answered.*\n$/);
});
