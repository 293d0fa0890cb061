import { request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { createRestApi, createRestServer } from '@dormouse/broker';
import { expect, onTestFinished, test } from 'vitest';
import { LocalStores } from './local-stores.ts';
import { overRest } from './pubsub-wire.ts';

// What belongs to REST alone; the rest is in the folder `pubsub`.

const topic = 'projects/test/topics/news';
const subscription = 'projects/test/subscriptions/reader';

/** A broker with a topic and a subscription. */
async function serve() {
  const stores = LocalStores.inMemory();
  const server = createRestServer(createRestApi(stores.broker));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await stores[Symbol.asyncDispose]();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const wire = overRest(url);
  await wire.call('CreateTopic', { name: topic });
  await wire.call('CreateSubscription', { name: subscription, topic });
  const send = async (method: string, path: string, body?: string | Uint8Array<ArrayBuffer>, headers = {}) => {
    const init = { method, headers: { 'content-type': 'application/json', ...headers } };
    const response = await fetch(`${url}/v1/${path}`, body === undefined ? init : { ...init, body });
    // biome-ignore lint/suspicious/noExplicitAny: whatever it answers
    return { status: response.status, body: (await response.json()) as any };
  };
  return { stores, wire, url, send };
}

/** Sends bytes, hangs up after, and resolves to what came. */
function answerTo(url: string, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.end(bytes));
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', () => {});
  });
}

test('an unknown field is refused in Google’s words and shape', async () => {
  const { send } = await serve();
  expect(await send('POST', `${subscription}:pull`, '{"maxMessages":1,"nonsense":true}')).toEqual({
    status: 400,
    body: {
      error: {
        code: 400,
        message: 'Invalid JSON payload received. Unknown name "nonsense": Cannot find field.',
        status: 'INVALID_ARGUMENT',
        details: [
          {
            '@type': 'type.googleapis.com/google.rpc.BadRequest',
            fieldViolations: [
              { field: '', description: 'Invalid JSON payload received. Unknown name "nonsense": Cannot find field.' },
            ],
          },
        ],
      },
    },
  });
});

test.each([
  ['a path that is none', 'GET', 'nonsense', undefined, 404, 'NOT_FOUND'],
  ['a verb that is none', 'POST', `${topic}:nonsense`, '{}', 404, 'NOT_FOUND'],
  ['a percent sign that encodes nothing', 'GET', 'projects/test/topics/%zz', undefined, 400, 'INVALID_ARGUMENT'],
  ['a body that is no JSON', 'POST', `${topic}:publish`, '{', 400, 'INVALID_ARGUMENT'],
  ['a body that is no object', 'POST', `${topic}:publish`, '[]', 400, 'INVALID_ARGUMENT'],
  ['another name in the body', 'PUT', 'projects/test/topics/one', `{"name":"${topic}"}`, 400, 'INVALID_ARGUMENT'],
  [
    'another name deep in the body',
    'PATCH',
    topic,
    '{"topic":{"name":"projects/test/topics/one"},"updateMask":"labels"}',
    400,
    'INVALID_ARGUMENT',
  ],
  ['a resource that is no object', 'PATCH', topic, '{"topic":1,"updateMask":"labels"}', 400, 'INVALID_ARGUMENT'],
  ['a page size that is no number', 'GET', 'projects/test/topics?pageSize=many', undefined, 400, 'INVALID_ARGUMENT'],
  ['a body nested very deep', 'POST', `${topic}:publish`, '['.repeat(100_000), 400, 'INVALID_ARGUMENT'],
])('%s is refused with an error in JSON', async (_what, method, path, body, code, status) => {
  const { send } = await serve();
  expect(await send(method, path, body)).toMatchObject({ status: code, body: { error: { code, status } } });
});

test('snake_case, numbers for enums and parameters of the transport are taken', async () => {
  const { send } = await serve();
  const path = 'projects/test/subscriptions/other?prettyPrint=false&$alt=json;enum-encoding=int&key=none';
  const made = await send('PUT', path, `{"topic":"${topic}","ack_deadline_seconds":"20","state":1}`);
  expect(made).toMatchObject({ status: 200, body: { ackDeadlineSeconds: 20, state: 1 } });
  expect(await send('GET', 'projects/test/topics?page_size=1&$alt=json')).toMatchObject({
    body: { topics: [{ name: topic, state: 'ACTIVE' }] },
  });
});

test('a gzipped body is read, and one that grows beyond the limit is not', async () => {
  const { send, wire } = await serve();
  const body = JSON.stringify({ messages: [{ data: 'aGk=' }] });
  const gzipped = { 'content-encoding': 'gzip' };
  expect(await send('POST', `${topic}:publish`, gzipSync(body), gzipped)).toMatchObject({ status: 200 });
  expect(await wire.call('Pull', { subscription, maxMessages: 1 })).toMatchObject({
    receivedMessages: [{ message: { data: 'aGk=' } }],
  });
  const bomb = gzipSync(Buffer.alloc(100_000_000));
  expect(await send('POST', `${topic}:publish`, bomb, gzipped)).toMatchObject({ status: 400 });
  expect(await send('POST', `${topic}:publish`, 'no gzip', gzipped)).toMatchObject({ status: 400 });
});

test.each([
  ['a method no one may use', 'TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n', /^HTTP\/1\.1 400/],
  ['a host name that is none', 'GET /v1/projects/p/topics HTTP/1.1\r\nHost: a b\r\n\r\n', /^HTTP\/1\.1 400/],
  ['no host name', 'GET /v1/projects/p/topics HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 400/],
  [
    'a body that breaks off',
    `POST /v1/${topic}:publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"half`,
    /^(HTTP\/1\.1 400|$)/,
  ],
  [
    'a body over the limit',
    `POST /v1/${topic}:publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 15000001\r\n\r\n${' '.repeat(15_000_001)}`,
    /^HTTP\/1\.1 413/,
  ],
])('%s is refused, and the server goes on', async (_what, bytes, answer) => {
  const { url, send } = await serve();
  expect(await answerTo(url, bytes)).toMatch(answer);
  expect(await send('GET', 'projects/test/topics')).toMatchObject({ status: 200 });
});

test('what a proxy would be asked, with the address in full, is answered as well', async () => {
  const { url } = await serve();
  const asked = `GET ${url}/v1/${topic}?alt=json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
  expect(await answerTo(url, asked)).toMatch(new RegExp(`^HTTP/1.1 200[^]*"name":"${topic}"`));
});

test('an id with a percent sign is one name, encoded or not', async () => {
  const { wire, send } = await serve();
  expect(await send('PUT', 'projects/test/topics/a%25b%2Bc', '{}')).toMatchObject({
    body: { name: 'projects/test/topics/a%b+c' },
  });
  expect(await wire.call('ListTopics', { project: 'projects/test', pageSize: 1 })).toMatchObject({
    topics: [{ name: 'projects/test/topics/a%b+c' }],
  });
});

test('a pull whose caller hung up takes no message from the next', async () => {
  const { wire, url, stores } = await serve();
  const pulling = request(`${url}/v1/${subscription}:pull`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  });
  pulling.on('error', () => {});
  pulling.end('{"maxMessages":1}');
  const { waiting } = stores.broker.subscription(subscription);
  await expect.poll(() => waiting.size).toBe(1);
  pulling.destroy();
  await expect.poll(() => waiting.size).toBe(0);
  await wire.call('Publish', { topic, messages: [{ data: 'aGk=' }] });
  const { receivedMessages } = await wire.call('Pull', { subscription, maxMessages: 1, returnImmediately: true });
  expect(receivedMessages).toHaveLength(1);
});
