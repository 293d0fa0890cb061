import type { Measure } from './measurement.ts';
import { memoryOf } from './proc.ts';
import { PubsubRest } from './pubsub-rest.ts';
import { PubsubServer } from './pubsub-server.ts';
import { median } from './quantile.ts';
import { pause } from './running-host.ts';
import { beside, megabytes, ms, table, whole } from './table.ts';

const batch = 100;
const bytes = 256;
const settleMs = 3_000;

/** Messages a second, by what was done and over how many connections. */
type Rates = Record<string, number>;

/** REST, the broker on disk beside Google's emulator in memory: publish, pull and ack, both after each other; start and memory. */
export const measurePubsub: Measure = async ({ quick, progress }) => {
  const runs = quick ? 1 : 5;
  const messages = quick ? 5_000 : 20_000;
  // The first start after a change of the code strips its types, which takes 70 ms and 40 MB more.
  await (await PubsubServer.broker()).stop();
  const servers = [await PubsubServer.broker(), await PubsubServer.emulator()].filter((each) => each !== undefined);
  const floors = [await PubsubServer.floor(), await PubsubServer.floor({ synced: true })];
  try {
    await pause(settleMs);
    const idle = servers.map(({ pid }) => memoryOf(pid).rssBytes);
    const rates = new Map<string, Rates[]>([...servers, ...floors].map(({ name }) => [name, []]));
    // The first round warms them up, the emulator's compiler above all.
    for (let run = 0; run <= runs; run++) {
      for (const server of [...servers, ...floors]) {
        progress(`round ${run} of ${runs}: ${server.name}`);
        const measured: Rates = {};
        for (const connections of [1, 8]) Object.assign(measured, await measureServer(server, messages, connections));
        if (run > 0) rates.get(server.name)!.push(measured);
      }
    }
    const loaded = servers.map(({ pid }) => memoryOf(pid).rssBytes);
    const figures = {
      servers: servers.map(({ name, startMs }, n) => ({ name, startMs, idle: idle[n], loaded: loaded[n] })),
      rates: Object.fromEntries(rates),
    };
    return { report: report(servers, rates, idle, loaded, messages), figures };
  } finally {
    for (const server of [...servers, ...floors]) await server.stop();
  }
};

let names = 0;

async function measureServer({ port }: PubsubServer, messages: number, connections: number): Promise<Rates> {
  const rest = new PubsubRest(port, connections);
  const topic = `projects/p/topics/bench-${++names}`;
  const subscription = `projects/p/subscriptions/bench-${names}`;
  await rest.create(topic, subscription);
  const rate = async (work: () => Promise<void>) => {
    const startedAt = performance.now();
    await work();
    return (messages / (performance.now() - startedAt)) * 1000;
  };
  const publishing = () => rest.publishAll(topic, messages, { batch, bytes });
  const draining = () => rest.drain(subscription, messages, batch);
  const of = `${connections} connection${connections > 1 ? 's' : ''}`;
  const measured = {
    [`publish, ${of}`]: await rate(publishing),
    [`pull and ack, ${of}`]: await rate(draining),
    [`publish, then drain, ${of}`]: await rate(async () => {
      await publishing();
      await draining();
    }),
  };
  rest.close();
  return measured;
}

function report(
  servers: readonly PubsubServer[],
  rates: ReadonlyMap<string, readonly Rates[]>,
  idle: readonly number[],
  loaded: readonly number[],
  messages: number,
): string {
  const kinds = Object.keys(rates.get('dormouse')![0]!);
  const of = (kind: string) => servers.map(({ name }) => median(rates.get(name)!.map((each) => each[kind]!)));
  const floor = (kind: string, name: string) => whole(median(rates.get(name)!.map((each) => each[kind]!)));
  const starts = servers.map(({ startMs }) => startMs);
  return table(
    `Pub/Sub over REST: batches of ${batch} × ${bytes} B, ${messages.toLocaleString('en')} messages a measure, medians; messages/s`,
    [
      ['', 'dormouse', 'emulator', 'ratio', 'aim', 'floor', 'synced'],
      ...kinds.map((kind) => [
        kind,
        ...beside(of(kind), whole),
        '≥ 4 ×',
        floor(kind, 'floor'),
        floor(kind, 'floor, synced'),
      ]),
      ['start to first answer', ...beside(starts, ms, { smallerIsBetter: true }), '< 300 ms'],
      ['memory (RSS), idle', ...beside(idle, megabytes, { smallerIsBetter: true }), '< 90 MB'],
      ['memory (RSS), after all', ...beside(loaded, megabytes, { smallerIsBetter: true }), ''],
    ],
    [
      'Ours syncs to disk before each answer to a publish; the emulator keeps everything in memory.',
      'floor: a server of node:http that parses the same requests and answers from an array, by the same client. It keeps nothing, leases nothing.',
      'synced: the same, but that it writes what is published into a file as it came, and syncs it before the answer: the least a durable server does.',
    ],
  );
}
