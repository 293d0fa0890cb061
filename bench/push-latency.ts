import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PubSub } from '@google-cloud/pubsub';
import type { Measure } from './measurement.ts';
import { PubsubRest } from './pubsub-rest.ts';
import { PubsubServer } from './pubsub-server.ts';
import { quantile } from './quantile.ts';
import { pause } from './running-host.ts';
import { ms, table, verdict } from './table.ts';

// The client looks for a machine of Google's otherwise.
process.env.METADATA_SERVER_DETECTION = 'none';

const everyMs = 5;
const warmUp = 200;
const bytes = 256;
/** Waiting at once, so that one is there while another acks. */
const longPolls = 4;
const patienceMs = 10_000;

interface Way {
  readonly name: string;
  readonly aim: { readonly p50?: number; readonly p99: number };
  /** Makes topic and subscription, and hands on the data of what comes. Resolves when it listens. */
  receive(server: PubsubServer, name: string, take: (data: string) => void): Promise<Receiver>;
}

interface Receiver {
  stop(): Promise<void>;
}

const ways: readonly Way[] = [
  { name: 'push to an awake endpoint', aim: { p99: 10 }, receive: byPush },
  { name: 'streaming pull', aim: { p50: 1.5, p99: 6 }, receive: byStream },
  { name: 'pull over REST, waiting', aim: { p50: 1.5, p99: 6 }, receive: byPull },
];

/** Publish to handler at 200 messages a second, one a request: by push, streaming pull and waiting pulls. One process publishes and handles. */
export const measurePushLatency: Measure = async ({ quick, progress }) => {
  const messages = quick ? 1_000 : 4_000;
  const servers = [await PubsubServer.broker(), await PubsubServer.emulator()].filter((each) => each !== undefined);
  const floor = await PubsubServer.floor();
  const times = new Map<Way, number[][]>();
  try {
    for (const way of ways) {
      times.set(way, []);
      for (const server of servers) {
        progress(`${way.name}: ${server.name}`);
        times.get(way)!.push(await timesOf(way, server, messages));
      }
    }
    const [, , pull] = ways;
    progress(`${pull!.name}: floor`);
    const least = await timesOf(pull!, floor, messages);
    const figures = Object.fromEntries([...times].map(([{ name }, ofServers]) => [name, ofServers]));
    return { report: report(times, least, messages), figures: { ...figures, floor: least } };
  } finally {
    for (const server of [...servers, floor]) await server.stop();
  }
};

let names = 0;

/** From right before the publish request to the handler, milliseconds; Infinity for what did not come. */
async function timesOf(way: Way, server: PubsubServer, messages: number): Promise<number[]> {
  const name = `latency-${++names}`;
  const sentAt = new Map<string, number>();
  const took: number[] = [];
  const all = Promise.withResolvers<void>();
  const receiver = await way.receive(server, name, (data) => {
    const id = Buffer.from(data, 'base64').toString().trim();
    const from = sentAt.get(id);
    // Again, or of an earlier round.
    if (from === undefined) return;
    sentAt.delete(id);
    took.push(performance.now() - from);
    if (took.length === warmUp + messages) all.resolve();
  });
  const rest = new PubsubRest(server.port, 64);
  const startedAt = performance.now();
  for (let n = 0; n < warmUp + messages; n++) {
    await pause(Math.max(0, startedAt + n * everyMs - performance.now()));
    const id = `${name}-${n}`;
    const data = Buffer.from(id.padEnd(bytes)).toString('base64');
    sentAt.set(id, performance.now());
    rest.publish(topicOf(name), Buffer.from(JSON.stringify({ messages: [{ data }] }))).catch(all.reject);
  }
  await Promise.race([all.promise, pause(patienceMs)]);
  rest.close();
  await receiver.stop();
  return [...took.slice(warmUp), ...Array.from({ length: sentAt.size }, () => Number.POSITIVE_INFINITY)];
}

const topicOf = (name: string) => `projects/bench/topics/${name}`;
const subscriptionOf = (name: string) => `projects/bench/subscriptions/${name}`;

async function byPush({ port }: PubsubServer, name: string, take: (data: string) => void): Promise<Receiver> {
  const handler = createServer(async (request, response) => {
    const { message } = JSON.parse(await textOf(request)) as { message: { data: string } };
    take(message.data);
    response.writeHead(204).end();
  });
  handler.listen(0, '127.0.0.1');
  await once(handler, 'listening');
  const pushEndpoint = `http://127.0.0.1:${(handler.address() as AddressInfo).port}/`;
  const rest = new PubsubRest(port, 1);
  await rest.create(topicOf(name), subscriptionOf(name), { pushConfig: { pushEndpoint } });
  return {
    async stop() {
      await rest.call('DELETE', subscriptionOf(name));
      rest.close();
      handler.close();
      handler.closeAllConnections();
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}

async function byStream({ port }: PubsubServer, name: string, take: (data: string) => void): Promise<Receiver> {
  const rest = new PubsubRest(port, 1);
  await rest.create(topicOf(name), subscriptionOf(name));
  rest.close();
  const client = new PubSub({ projectId: 'bench', apiEndpoint: `127.0.0.1:${port}` });
  const subscription = client.subscription(name);
  subscription
    .on('message', (message) => {
      take(message.data.toString('base64'));
      message.ack();
    })
    .on('error', (error) => {
      throw error;
    });
  await pause(500);
  return {
    async stop() {
      await subscription.close();
      await client.close();
    },
  };
}

async function byPull({ port }: PubsubServer, name: string, take: (data: string) => void): Promise<Receiver> {
  const rest = new PubsubRest(port, 2 * longPolls);
  await rest.create(topicOf(name), subscriptionOf(name));
  let isOver = false;
  const poll = async () => {
    while (!isOver) {
      const received = await rest.pull(subscriptionOf(name), 100);
      for (const { message } of received) take(message.data!);
      if (received.length > 0) await rest.acknowledge(subscriptionOf(name), received);
    }
  };
  for (let n = 0; n < longPolls; n++) {
    poll().catch((error) => {
      if (!isOver) throw error;
    });
  }
  return {
    async stop() {
      isOver = true;
      rest.close();
    },
  };
}

function report(times: ReadonlyMap<Way, readonly number[][]>, least: readonly number[], messages: number): string {
  const rows = [...times].map(([{ name, aim }, [ours, theirs]]) => {
    const both = (fraction: number) => [ms(quantile(ours!, fraction)), theirs ? ms(quantile(theirs, fraction)) : '-'];
    const aims = [aim.p50, aim.p99].map((each) => each ?? Number.POSITIVE_INFINITY);
    const verdicts = [0.5, 0.99].map((fraction, n) => verdict(quantile(ours!, fraction), aims[n]!));
    return [
      name,
      ...both(0.5),
      aim.p50 === undefined ? '' : `${aim.p50} ms: ${verdicts[0]}`,
      ...both(0.99),
      `${aim.p99} ms: ${verdicts[1]}`,
    ];
  });
  return table(
    `push-latency: publish to handler, ${1000 / everyMs} messages a second of ${bytes} B, one a request, ${messages.toLocaleString('en')} messages each`,
    [['', 'p50', 'emulator', 'aim', 'p99', 'emulator', 'aim'], ...rows],
    [
      'One process publishes over REST and handles. Ours syncs each message to disk before it delivers it; the emulator keeps it in memory.',
      `The same client and a server of node:http that answers from an array, pull over REST: p50 ${ms(quantile(least, 0.5))}, p99 ${ms(quantile(least, 0.99))}.`,
    ],
  );
}
