// A program of memory.test.ts: node --expose-gc memory-load.ts FOLDER WHAT
// Sends a broker's messages through one way, round after round, and tells how much memory is in use after each, garbage collected.
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { StreamingPull } from './api/streaming-pull.ts';
import { Broker } from './broker.ts';
import type { BrokerClock } from './clock.ts';
import { Database } from './database.ts';
import { createRestApi } from './rest.ts';

const messagesARound = 10_000;
const batch = 500;
const rounds = 3;
const topic = 'projects/p/topics/load';
const subscription = 'projects/p/subscriptions/load';

/** No time passes: no alarm of a lease comes by and lets go of what should have gone before. */
const clock: BrokerClock = { now: () => 1_000_000_000_000, steady: () => 0, after: () => () => {} };

const [folder, what] = process.argv.slice(2) as [string, keyof typeof ways];
const database = new Database(join(folder, 'load.db'));
const broker = new Broker(database, clock);
const rest = createRestApi(broker);

const ways = {
  'pulled and acked': async () => {
    await publish();
    await pullAll((ackIds) => post(`${subscription}:acknowledge`, { ackIds }));
  },
  'pulled and nacked, and waiting': async () => {
    await publish();
    await pullAll((ackIds) => post(`${subscription}:modifyAckDeadline`, { ackIds, ackDeadlineSeconds: 0 }));
  },
  'pulled, and extended again and again': async () => {
    await publish();
    await pullAll(async (ackIds) => {
      for (const ackDeadlineSeconds of [20, 30, 40, 50, 60]) {
        await post(`${subscription}:modifyAckDeadline`, { ackIds, ackDeadlineSeconds });
      }
      await post(`${subscription}:acknowledge`, { ackIds });
    });
  },
  'streamed and acked': async () => {
    await publish();
    await streamAll();
  },
  'published, and waiting': publish,
};

async function post(path: string, body: object): Promise<Record<string, unknown>> {
  const headers = { host: 'localhost', 'content-type': 'application/json' };
  const sent = Buffer.from(JSON.stringify(body));
  const answer = await rest({ method: 'POST', url: `/v1/${path}`, headers, body: sent });
  if (answer.status !== 200) throw new Error(`${path}: ${answer.body}`);
  return JSON.parse(answer.body);
}

async function publish(): Promise<void> {
  const data = Buffer.alloc(256, 'x').toString('base64');
  const messages = Array.from({ length: batch }, (_, n) => ({ data, attributes: { n: String(n) } }));
  for (let sent = 0; sent < messagesARound; sent += batch) await post(`${topic}:publish`, { messages });
}

async function pullAll(settle: (ackIds: string[]) => Promise<unknown>): Promise<void> {
  for (let seen = 0; seen < messagesARound; ) {
    const { receivedMessages = [] } = (await post(`${subscription}:pull`, { maxMessages: batch })) as {
      receivedMessages?: { ackId: string }[];
    };
    seen += receivedMessages.length;
    await settle(receivedMessages.map(({ ackId }) => ackId));
  }
}

async function streamAll(): Promise<void> {
  let acked = 0;
  const all = Promise.withResolvers<void>();
  const stream = new StreamingPull(broker, {
    send: ({ receivedMessages = [] }) => {
      const ackIds = (receivedMessages as { ackId: string }[]).map(({ ackId }) => ackId);
      setImmediate(async () => {
        await stream.receive({ ackIds });
        acked += ackIds.length;
        if (acked >= messagesARound) all.resolve();
      });
      return true;
    },
    end: all.reject,
  });
  await stream.receive({ subscription, streamAckDeadlineSeconds: 60, maxOutstandingMessages: '1000' });
  await all.promise;
  stream.close();
}

/** What is in use when nobody is at anything: written, answered and collected. */
async function used(): Promise<number> {
  for (let times = 0; times < 3; times++) {
    await database.write(() => {});
    await turn();
    gc!();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

await broker.createTopic({ name: topic });
const retryPolicy = { minimumBackoff: '600s', maximumBackoff: '600s' };
await broker.createSubscription({ name: subscription, topic, retryPolicy });
const bytes: number[] = [];
for (let round = 0; round < rounds; round++) {
  await ways[what]();
  bytes.push(await used());
}
process.stdout.write(JSON.stringify({ messagesARound, bytes }));
broker.close();
await database.close();
