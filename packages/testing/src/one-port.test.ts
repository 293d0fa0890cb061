import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { BrokerServer } from './broker-server.ts';
import { overGrpc, streamingPull } from './pubsub-grpc.ts';
import { overRest, type WireError } from './pubsub-wire.ts';

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** A connection, and all that came on it when it is closed. */
function open(port: number): { socket: Socket; closed: Promise<string> } {
  const socket = connect(port, '127.0.0.1');
  let came = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    came += chunk;
  });
  socket.on('error', () => {});
  return { socket, closed: new Promise((resolve) => socket.on('close', () => resolve(came))) };
}

/** Both wires answer. */
async function works({ address, url }: BrokerServer): Promise<void> {
  using grpc = overGrpc(address);
  const name = `projects/test/topics/t-${crypto.randomUUID()}`;
  await grpc.call('CreateTopic', { name });
  expect(await overRest(url).call('GetTopic', { topic: name })).toMatchObject({ name });
}

test('both wires are served on one port, at the same time', async () => {
  await using server = await BrokerServer.open();
  await Promise.all(Array.from({ length: 5 }, () => works(server)));
});

test('a client that sends its first bytes one by one is understood', async () => {
  await using server = await BrokerServer.open();
  for (const [text, answer] of [
    ['GET /v1/projects/test/topics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', /^HTTP\/1.1 200/],
    ['PRINT / HTTP/1.1\r\nHost: localhost\r\n\r\n', /^HTTP\/1.1 400/],
    // HTTP/2's settings come back, and its end: a frame of zeros is none.
    [`${preface}${'\0'.repeat(64)}`, /./s],
  ] as const) {
    const { socket, closed } = open(server.port);
    socket.setNoDelay();
    for (const byte of text) await new Promise((resolve) => socket.write(byte, resolve));
    expect(await closed).toMatch(answer);
  }
  await works(server);
});

test.each([
  ['nothing', ''],
  ['the half of a preface', 'PRI * HT'],
])('a client that says %s is hung up on, and so is one that says no more', async (_what, bytes) => {
  await using server = await BrokerServer.open({ silentMs: 50 });
  const silent = open(server.port);
  silent.socket.write(bytes);
  const halfOpen = open(server.port);
  halfOpen.socket.end(bytes);
  await Promise.all([silent.closed, halfOpen.closed]);
  await works(server);
});

test('garbage on either wire, or a hang-up at any point, does no harm', async () => {
  await using server = await BrokerServer.open();
  let seed = 1;
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed;
  };
  const clients = Array.from({ length: 200 }, async (_each, index) => {
    const garbage = Buffer.from(Array.from({ length: 1 + (random() % 300) }, () => random() % 256));
    const { socket, closed } = open(server.port);
    if (index % 2 === 0) socket.write(preface);
    socket.write(garbage);
    if (index % 3 === 0) socket.destroy();
    else if (index % 3 === 1) socket.end();
    else setTimeout(() => socket.destroy(), 100);
    await closed;
  });
  await Promise.all(clients);
  await works(server);
});

test('bytes that are no message are an error of that call alone', async () => {
  await using server = await BrokerServer.open();
  const { Client, credentials } = await import('@grpc/grpc-js');
  const client = new Client(server.address, credentials.createInsecure());
  const call = (path: string, bytes: Buffer) =>
    new Promise<{ code: number }>((resolve) => {
      client.makeUnaryRequest(
        path,
        () => bytes,
        (answer: Buffer) => answer,
        {},
        (error) => resolve(error!),
      );
    });
  const publish = '/google.pubsub.v1.Publisher/Publish';
  expect(await call(publish, Buffer.from([0x0a, 0xff]))).toMatchObject({ code: 13 });
  expect(await call(publish, Buffer.from([0x08, 0x01]))).toMatchObject({ code: 13 });
  expect(await call(publish, Buffer.alloc(13_000_000))).toMatchObject({ code: 8 });
  expect(await call('/google.pubsub.v1.Publisher/Nonsense', Buffer.alloc(0))).toMatchObject({ code: 12 });
  client.close();
  await works(server);
});

test('details of an error come over gRPC as they do over REST', async () => {
  await using server = await BrokerServer.open();
  using grpc = overGrpc(server.address);
  const request = { project: 'projects/test', pageSize: -1 };
  const refused = (call: Promise<unknown>) => call.then(undefined, (error: WireError) => ({ ...error }));
  const overWire = await refused(grpc.call('ListTopics', request));
  expect(overWire).toMatchObject({
    status: 'INVALID_ARGUMENT',
    details: [
      {
        '@type': 'type.googleapis.com/google.rpc.BadRequest',
        fieldViolations: [{ field: 'page_size', description: expect.stringContaining('-1') }],
      },
    ],
  });
  expect(await refused(overRest(server.url).call('ListTopics', request))).toEqual(overWire);
});

test('where a token is needed, calls and streams without it are refused over gRPC', async () => {
  await using server = await BrokerServer.open({ admits: async (authorization) => authorization === 'Bearer good' });
  using stranger = overGrpc(server.address);
  using friend = overGrpc(server.address, 'Bearer good');
  await friend.call('CreateTopic', { name: 'projects/test/topics/news' });
  await expect(stranger.call('ListTopics', { project: 'projects/test' })).rejects.toMatchObject({
    status: 'UNAUTHENTICATED',
  });
  using stream = streamingPull(server.address);
  stream.send({ subscription: 'projects/test/subscriptions/reader', streamAckDeadlineSeconds: 10 });
  expect(await stream.ended).toMatchObject({ status: 'UNAUTHENTICATED' });
});

test('a broker that stops says so to its streams, and ends', async () => {
  const server = await BrokerServer.open();
  using grpc = overGrpc(server.address);
  const topic = 'projects/test/topics/news';
  const subscription = 'projects/test/subscriptions/reader';
  await grpc.call('CreateTopic', { name: topic });
  await grpc.call('CreateSubscription', { name: subscription, topic });
  using stream = streamingPull(server.address);
  stream.send({ subscription, streamAckDeadlineSeconds: 10 });
  await expect.poll(() => server.broker.subscription(subscription).waiting.size).toBe(1);
  await server[Symbol.asyncDispose]();
  expect(await stream.ended).toMatchObject({ status: 'UNAVAILABLE' });
});
