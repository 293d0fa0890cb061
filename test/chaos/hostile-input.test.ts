// Real: `dormouse broker` as a process, and 10,000 requests over REST and gRPC that are almost right, beside senders that
// are slow, stop in the middle, or shout. Nothing crashes, nothing hangs, nothing is INTERNAL, and memory stays.
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from '../system/temporary-folder.ts';
import { BrokerVictim } from './broker-victim.ts';
import { everyFieldWrong, type RestCall, samples } from './every-field.ts';
import { mutatedBytes, mutatedJson } from './mutations.ts';

const folder = temporaryFolder();
const seed = Number(process.env.DORMOUSE_SEED ?? Date.now() % 2 ** 31);
process.stdout.write(`hostile input: seed ${seed}\n`);

const project = 'projects/hostile';
const topic = `${project}/topics/odd-topics`;
const subscription = `${project}/subscriptions/odd-subscriptions`;
const atATime = 16;
const longestMs = 30_000;
/** What a request may be answered with: all that Google documents but what says that the server is at fault. */
const answers = [200, 400, 401, 403, 404, 405, 409, 411, 413, 415, 429, 431, 501];
const codes = [
  'OK',
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'ABORTED',
  'RESOURCE_EXHAUSTED',
  'UNIMPLEMENTED',
];

let broker: BrokerVictim;
let address: string;
/** Before the flood, when all code has run once. */
let restingBytes: number;

beforeAll(async () => {
  broker = new BrokerVictim(folder);
  address = await broker.address();
  for (const [path, body] of [
    [topic, {}],
    [subscription, { topic }],
  ] as const) {
    expect((await send({ method: 'PUT', path: `/v1/${path}`, body: JSON.stringify(body) })).status).toBe(200);
  }
});

afterAll(() => broker?.kill());

test('5,000 and more requests with something odd in the place of each field are answered, and not with 500', async () => {
  const calls = [...everyFieldWrong(project)];
  expect(calls.length).toBeGreaterThan(5_000);
  await flood(calls.slice(0, 1_000), expectAnswer);
  restingBytes = residentBytes();
  await flood(calls.slice(1_000), expectAnswer);
});

test('2,500 requests whose JSON or bytes are almost right are answered, and not with 500', async () => {
  const path = fc.constantFrom(...samples.map((sample) => sample.path.replaceAll('PROJECT', project)));
  const json = fc.record({ path, body: mutatedJson(samples.map(({ body }) => body as never)) });
  const bytes = fc.record({ path, body: mutatedBytes(samples.map(({ body }) => JSON.stringify(body))) });
  const calls = fc.sample(fc.oneof({ arbitrary: json, weight: 3 }, { arbitrary: bytes, weight: 1 }), {
    numRuns: 2_490,
    seed,
  });
  const huge = [
    '['.repeat(1_000_000),
    `{"messages":${'{"messages":'.repeat(200_000)}`,
    `"${'x'.repeat(30_000_000)}"`,
    '\0'.repeat(1_000),
  ];
  await flood(
    [...calls, ...huge.map((body) => ({ path: `/v1/${topic}:publish`, body }))].map((call) => ({
      method: 'POST',
      ...call,
    })),
    expectAnswer,
  );
});

test('2,000 calls over gRPC whose bytes are almost right are answered by their own error', async () => {
  const client = new Client(address, credentials.createInsecure());
  const bodies = [topic, subscription, `${topic}\u0012\u0004\n\u0002hi`, '{}'].map(
    (text) => `\n${String.fromCharCode(text.length)}${text}`,
  );
  const rpcs = [
    'Publisher/Publish',
    'Publisher/CreateTopic',
    'Publisher/ListTopics',
    'Subscriber/CreateSubscription',
    'Subscriber/Acknowledge',
    'Subscriber/ModifyAckDeadline',
    'Subscriber/Seek',
    'SchemaService/CreateSchema',
    'SchemaService/ValidateMessage',
    'Subscriber/Nonsense',
  ];
  const call = fc.record({ rpc: fc.constantFrom(...rpcs), body: mutatedBytes(bodies) });
  await flood(fc.sample(call, { numRuns: 2_000, seed }), async ({ rpc, body }) => {
    const { code, details } = await unary(client, `/google.pubsub.v1.${rpc}`, Buffer.from(body));
    // gRPC itself says INTERNAL of bytes that are no message.
    if (code !== 'INTERNAL' || !/deserializ/i.test(details))
      expect({ rpc, code, details }).toEqual({ rpc, code: expect.toBeOneOf(codes), details });
  });
  client.close();
});

test('senders that are slow, stop half-way, or send headers without end harm nobody else', async () => {
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  const begun = `POST /v1/${topic}:publish HTTP/1.1\r\nHost: ${address}\r\nContent-Type: application/json\r\n`;
  const halves = [
    '',
    'POST',
    begun,
    `${begun}Content-Length: 100\r\n\r\n{"mess`,
    `${begun}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n`,
    `${preface}\0\0`,
    preface,
  ];
  const sockets = Array.from({ length: 210 }, (_each, index) => open(halves[index % halves.length]!));
  const dripping = setInterval(() => {
    for (const socket of sockets.slice(0, 50)) socket.write(' ');
  }, 20);
  const shouting = open(`GET / HTTP/1.1\r\nX: ${'x'.repeat(1_000_000)}`);
  await new Promise((resolve) => shouting.once('close', resolve));
  await works();
  for (const [index, socket] of sockets.entries()) if (index % 2) socket.end();
  await works();
  clearInterval(dripping);
  for (const socket of sockets) socket.destroy();
  await works();
});

test('after all that, the broker has the memory it had', async () => {
  await works();
  // Of what is freed the engine gives back some, later.
  expect(residentBytes() - restingBytes).toBeLessThan(400e6);
});

/** Each in its turn, some at a time; each within its bound. */
async function flood<T>(all: readonly T[], play: (each: T) => Promise<void>): Promise<void> {
  const left = all.values();
  await Promise.all(
    Array.from({ length: atATime }, async () => {
      for (const each of left) await play(each);
    }),
  );
}

function send({ method, path, body }: { method: string; path: string; body: string | Uint8Array }): Promise<Response> {
  const hasBody = method !== 'GET' && method !== 'DELETE';
  return fetch(`http://${address}${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: hasBody ? (body as string) : null,
    signal: AbortSignal.timeout(longestMs),
  });
}

async function expectAnswer(
  call: RestCall | { method: string; path: string; body: string | Uint8Array },
): Promise<void> {
  const response = await send(call);
  const text = await response.text();
  const shown = { path: call.path, body: String(call.body).slice(0, 300), text: text.slice(0, 300) };
  expect({ ...shown, status: response.status }).toEqual({ ...shown, status: expect.toBeOneOf(answers) });
  // Too long to be read at all.
  if (response.status === 413) return;
  const { error } = JSON.parse(text);
  if (!response.ok)
    expect(error).toMatchObject({
      code: response.status,
      message: expect.stringMatching(/./),
      status: expect.stringMatching(/^[A-Z_]+$/),
    });
}

function unary(client: Client, path: string, body: Buffer): Promise<{ code: string; details: string }> {
  const same = (bytes: Buffer) => bytes;
  const deadline = Date.now() + longestMs;
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, same, same, body, new Metadata(), { deadline }, (error) => {
      resolve(error ? { code: status[error.code]!, details: error.details } : { code: 'OK', details: '' });
    });
  });
}

function open(bytes: string): Socket {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => {});
  socket.resume();
  socket.write(bytes, 'latin1');
  return socket;
}

/** Both wires answer. */
async function works(): Promise<void> {
  expect((await send({ method: 'GET', path: `/v1/${project}/topics?pageSize=1`, body: '' })).status).toBe(200);
  const client = new Client(address, credentials.createInsecure());
  const name = `\n${String.fromCharCode(project.length)}${project}`;
  expect(await unary(client, '/google.pubsub.v1.Publisher/ListTopics', Buffer.from(name))).toMatchObject({
    code: 'OK',
  });
  client.close();
}

function residentBytes(): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${broker.pid}/status`, 'utf8'))![1]) * 1024;
}
