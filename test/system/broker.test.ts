// Real: `dormouse broker` as a process, reached as any client reaches it.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { PubSub, v1 } from '@google-cloud/pubsub';
import { credentials, status } from '@grpc/grpc-js';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { dormouse, Program, type ProgramOptions } from './program.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
// Google's client looks for a machine of Google's otherwise.
process.env.METADATA_SERVER_DETECTION = 'none';

/** A broker on a free port, and where it is. */
async function start(options: ProgramOptions, ...args: string[]): Promise<{ broker: Program; address: string }> {
  const broker = Program.dormouse(['broker', '--port', '0', ...args], options);
  onTestFinished(() => broker.kill());
  const [, address] = await broker.shows(/^PUBSUB_EMULATOR_HOST=(\S+)$/m);
  return { broker, address: address! };
}

function clientOf(address: string): PubSub {
  process.env.PUBSUB_EMULATOR_HOST = address;
  onTestFinished(() => {
    delete process.env.PUBSUB_EMULATOR_HOST;
  });
  return new PubSub({ projectId: 'shop' });
}

async function publish(address: string, text: string): Promise<number> {
  const body = JSON.stringify({ messages: [{ data: Buffer.from(text).toString('base64') }] });
  const headers = { 'content-type': 'application/json' };
  const topic = `http://${address}/v1/projects/shop/topics/orders`;
  return (await fetch(`${topic}:publish`, { method: 'POST', headers, body })).status;
}

interface Push {
  readonly token: string;
  readonly envelope: { readonly message: { readonly messageId: string } };
  answer(status: number): void;
}

/** An endpoint that answers when the test says so. */
async function receiver(): Promise<{ readonly url: string; readonly waiting: Push[] }> {
  const waiting: Push[] = [];
  const server = createHttpServer(async (incoming, response) => {
    const body = Buffer.concat(await incoming.toArray()).toString();
    const token = incoming.headers.authorization?.replace('Bearer ', '') ?? '';
    waiting.push({ token, envelope: JSON.parse(body), answer: (status) => void response.writeHead(status).end() });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/push`, waiting };
}

test('what one client publishes over REST another receives over gRPC, also after kill -9 of the broker; Ctrl-C ends it', async () => {
  const data = join(folder, 'kept');
  const config = join(folder, 'topics.json');
  const subscriptions = [{ name: 'billing', ackDeadlineSeconds: 30 }];
  writeFileSync(config, JSON.stringify({ project: 'shop', topics: [{ name: 'orders', subscriptions }] }));
  const first = await start({}, '--data', data, '--config', config);
  expect(await publish(first.address, 'kept')).toBe(200);
  first.broker.kill();
  await first.broker.exited;

  const { broker, address } = await start({}, '--data', data, '--config', config);
  const client = clientOf(address);
  const subscription = client.subscription('billing');
  expect((await subscription.getMetadata())[0]).toMatchObject({ ackDeadlineSeconds: 30 });
  const received: string[] = [];
  subscription.on('message', (message) => {
    received.push(message.data.toString());
    message.ack();
  });
  await expect.poll(() => received, { timeout: 30_000 }).toEqual(['kept']);
  await subscription.close();
  await client.close();
  broker.interrupt();
  expect(await broker.finished()).toMatchObject({ code: 0, stderr: '' });
});

test('a stream that is open is told and does not hold up Ctrl-C; --memory keeps nothing on disk', async () => {
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  const { broker, address } = await start({ folder: empty }, '--memory');
  const client = clientOf(address);
  const [topic] = await client.createTopic('orders');
  await topic.createSubscription('billing');
  const [servicePath, port] = address.split(':') as [string, string];
  const sslCreds = credentials.createInsecure();
  const subscriber = new v1.SubscriberClient({ servicePath, port: Number(port), sslCreds, projectId: 'shop' });
  const stream = subscriber.streamingPull({});
  const ended = new Promise((resolve) => stream.on('error', resolve));
  const received = new Promise((resolve) => stream.on('data', resolve));
  stream.write({ subscription: 'projects/shop/subscriptions/billing', streamAckDeadlineSeconds: 10 });
  expect(await publish(address, 'seen')).toBe(200);
  expect(await received).toMatchObject({ receivedMessages: [{ message: { data: Buffer.from('seen') } }] });
  broker.interrupt();
  expect(await ended).toMatchObject({ code: status.UNAVAILABLE });
  expect(await broker.finished(10_000)).toMatchObject({ code: 0, stderr: '' });
  expect(readdirSync(empty)).toEqual([]);
  await subscriber.close();
  await client.close();
});

test('it pushes to an endpoint, again after kill -9 in the middle, with tokens whose key outlasts that', async () => {
  const endpoint = await receiver();
  const { url, waiting } = endpoint;
  const data = join(folder, 'pushing');
  const config = join(folder, 'pushing.json');
  const pushConfig = { pushEndpoint: url, oidcToken: { serviceAccountEmail: 'pusher@shop.example' } };
  const subscriptions = [{ name: 'billing', pushConfig }];
  writeFileSync(config, JSON.stringify({ project: 'shop', topics: [{ name: 'orders', subscriptions }] }));
  const args = ['--data', data, '--config', config, '--issuer', 'http://broker.example'];
  const first = await start({}, ...args);
  expect(await publish(first.address, 'pushed')).toBe(200);
  await expect.poll(() => waiting.length, { timeout: 30_000 }).toBe(1);
  first.broker.kill();
  await first.broker.exited;

  const { broker, address } = await start({}, ...args);
  await expect.poll(() => waiting.length, { timeout: 30_000 }).toBe(2);
  const [before, after] = waiting.map(({ token, envelope }) => ({ token, messageId: envelope.message.messageId }));
  expect(after!.messageId).toBe(before!.messageId);
  const keys = createRemoteJWKSet(new URL(`http://${address}/oauth2/v3/certs`));
  for (const { token } of [before!, after!]) {
    const { payload } = await jwtVerify(token, keys, { issuer: 'http://broker.example', audience: url });
    expect(payload).toMatchObject({ email: 'pusher@shop.example', email_verified: true });
  }
  for (const { answer } of waiting.splice(0)) answer(503);
  await expect.poll(() => broker.stderr, { timeout: 30_000 }).toMatch(/^push to .*billing fails: HTTP 503/);
  await expect.poll(() => waiting.length, { timeout: 30_000 }).toBe(1);
  waiting[0]!.answer(204);
  await expect.poll(() => broker.stderr, { timeout: 30_000 }).toMatch(/\npush to .*billing is taken again\n$/);
  broker.interrupt();
  expect(await broker.finished()).toMatchObject({ code: 0 });
});

test('a push that hangs holds up Ctrl-C for two seconds, no more', async () => {
  const endpoint = await receiver();
  const { broker, address } = await start({}, '--memory');
  const client = clientOf(address);
  const [topic] = await client.createTopic('orders');
  await topic.createSubscription('billing', { pushEndpoint: endpoint.url, ackDeadlineSeconds: 600 });
  expect(await publish(address, 'held')).toBe(200);
  await expect.poll(() => endpoint.waiting.length, { timeout: 30_000 }).toBe(1);
  await client.close();
  broker.interrupt();
  expect(await broker.finished(30_000)).toMatchObject({ code: 0 });
});

test('`subscriptions` shows how they stand, pauses and resumes one, and `explain` says what became of a message', async () => {
  const { address } = await start({}, '--memory');
  const port = ['--port', address.split(':')[1]!];
  const client = clientOf(address);
  const [topic] = await client.createTopic('orders');
  await topic.createSubscription('billing');
  await topic.createSubscription('abroad', { filter: 'attributes:country' });
  const messageId = await topic.publishMessage({ data: Buffer.from('told'), orderingKey: '' });
  await client.close();

  const listed = await dormouse(['subscriptions', ...port]);
  expect(listed.stdout).toMatch(/^SUBSCRIPTION +STATE +WAITING +OLDEST/);
  expect(listed.stdout).toMatch(/subscriptions\/abroad +pulled +0 +0 +0\n.*subscriptions\/billing +pulled +1 +\d/);
  const paused = await dormouse(['subscriptions', 'pause', 'billing', ...port]);
  expect(paused).toMatchObject({ code: 0, stdout: expect.stringContaining('subscriptions/billing is paused') });
  const explained = await dormouse(['explain', messageId, ...port]);
  expect(explained.stdout).toMatch(/^message \d+ of projects\/shop\/topics\/orders, published /);
  expect(explained.stdout).toContain('filtered out: its attributes do not fit attributes:country');
  expect(explained.stdout).toContain('waiting: the subscription is paused');
  await dormouse(['subscriptions', 'resume', 'projects/shop/subscriptions/billing', ...port]);
  const environment = { PUBSUB_EMULATOR_HOST: address };
  const asJson = await dormouse(['explain', messageId, '--json'], { folder, environment });
  expect(JSON.parse(asJson.stdout)).toMatchObject({ messageId, subscriptions: [{}, { because: 'nobody pulls' }] });

  for (const [args, because] of [
    [['explain', '17', ...port], 'there is no message "17" in the log'],
    [['explain', ...port], 'explain needs the id of a message'],
    [['explain', '17', '--port', '1'], 'no broker answers at http://127.0.0.1:1'],
    [['explain', '17', '--data', join(folder, 'none')], 'name a broker with --port N'],
    [['subscriptions', 'pause', 'nobody', ...port], 'there is no subscription "nobody"'],
    [['subscriptions', 'forget', 'billing', ...port], '"forget" is no action of a broker alone'],
  ] as const) {
    const { code, stderr } = await dormouse(args);
    expect({ args, code, stderr }).toEqual({ args, code: 1, stderr: expect.stringContaining(because) });
    expect(stderr.trim().split('\n')).toHaveLength(1);
  }
});

test('a mistake is one clear line', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as { port: number };
  const files: Record<string, string> = {
    broken: '{',
    odd: '{"topcis": []}',
    nameless: '{"topics": [{}]}',
    wrong: '{"topics": [{"name": "orders", "subscriptions": [{"name": "billing", "ackDeadline": 30}]}]}',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, `${name}.json`), text);
  const config = (name: string) => ['--memory', '--port', '0', '--config', join(folder, `${name}.json`)];
  for (const [args, because] of [
    [['--memory', '--port', String(port)], `${port} is in use`],
    [['--port', 'many'], '"many" is no port'],
    [['--memory', '--port', '0', '--issuer', 'me'], '--issuer must be an http or https address, got "me"'],
    [['--memory', '--data', folder], 'use one of them'],
    [config('missing'), 'missing.json: cannot be read'],
    [config('broken'), 'broken.json: cannot be read'],
    [config('odd'), '"topcis"'],
    [config('nameless'), 'topics[0] needs a name'],
    [
      config('wrong'),
      '"projects/dormouse/subscriptions/billing": Invalid JSON payload received. Unknown name "ackDeadline"',
    ],
  ] as const) {
    const { code, stderr, stdout } = await dormouse(['broker', ...args]);
    expect({ args, code, stdout, stderr }).toEqual({
      args,
      code: 1,
      stdout: '',
      stderr: expect.stringContaining(because),
    });
    expect(stderr.trim().split('\n')).toHaveLength(1);
  }
});
