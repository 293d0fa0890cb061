import type { Measure } from './measurement.ts';
import { memoryOf } from './proc.ts';
import { batchOf, PubsubRest } from './pubsub-rest.ts';
import { PubsubServer } from './pubsub-server.ts';
import { median } from './quantile.ts';
import { pause } from './running-host.ts';
import { megabytes, ms, ratio, table } from './table.ts';

const batch = 100;
const bytes = 256;
const settleMs = 3_000;

/** Messages a second, by what was done and over how many connections. */
type Rates = Record<string, number>;

/** REST, the broker on disk beside Google's emulator in memory: publish, pull and ack, both after each other; start and memory. */
export const measurePubsub: Measure = async ({ quick, progress }) => {
  const runs = quick ? 1 : 5;
  const messages = quick ? 5_000 : 20_000;
  const servers = [await PubsubServer.broker(), await PubsubServer.emulator()].filter((each) => each !== undefined);
  try {
    await pause(settleMs);
    const idle = servers.map(({ pid }) => memoryOf(pid).rssBytes);
    const rates = new Map<string, Rates[]>(servers.map(({ name }) => [name, []]));
    // The first round warms them up, the emulator's compiler above all.
    for (let run = 0; run <= runs; run++) {
      for (const server of servers) {
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
    for (const server of servers) await server.stop();
  }
};

let names = 0;

async function measureServer({ port }: PubsubServer, messages: number, connections: number): Promise<Rates> {
  const rest = new PubsubRest(port, connections);
  const topic = `projects/p/topics/bench-${++names}`;
  const subscription = `projects/p/subscriptions/bench-${names}`;
  await rest.create(topic, subscription);
  const body = batchOf(batch, bytes);
  const rate = async (work: () => Promise<void>) => {
    const startedAt = performance.now();
    await work();
    return (messages / (performance.now() - startedAt)) * 1000;
  };
  /** `once` answers how many of a batch it did; the rest is another's. */
  const inParallel = async (once: () => Promise<number>) => {
    let left = messages;
    const worker = async () => {
      while (left > 0) {
        left -= batch;
        const done = await once();
        left += batch - done;
      }
    };
    await Promise.all(Array.from({ length: connections }, worker));
  };
  const publishing = () =>
    inParallel(async () => {
      await rest.publish(topic, body);
      return batch;
    });
  const draining = () =>
    inParallel(async () => {
      const received = await rest.pull(subscription, batch);
      if (received.length > 0) await rest.acknowledge(subscription, received);
      return received.length;
    });
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
  const line = (
    name: string,
    values: readonly number[],
    show: (value: number) => string,
    aim: string,
    smaller = false,
  ) => {
    const [ours, theirs] = values as [number, number | undefined];
    const shown = [name, show(ours)];
    if (theirs === undefined) return [...shown, '-', '-', aim];
    return [...shown, show(theirs), ratio(smaller ? theirs / ours : ours / theirs), aim];
  };
  const whole = (value: number) => Math.round(value).toLocaleString('en');
  const kinds = Object.keys(rates.get('dormouse')![0]!);
  return table(
    `Pub/Sub over REST: batches of ${batch} × ${bytes} B, ${messages.toLocaleString('en')} messages a measure, medians; messages/s`,
    [
      ['', 'dormouse', 'emulator', 'ratio', 'aim'],
      ...kinds.map((kind) =>
        line(
          kind,
          servers.map(({ name }) => median(rates.get(name)!.map((each) => each[kind]!))),
          whole,
          '≥ 4 ×',
        ),
      ),
      line(
        'start to first answer',
        servers.map(({ startMs }) => startMs),
        ms,
        '< 300 ms',
        true,
      ),
      line('memory (RSS), idle', idle, megabytes, '< 90 MB', true),
      line('memory (RSS), after all', loaded, megabytes, '', true),
    ],
    ['Ours syncs to disk before each answer to a publish; the emulator keeps everything in memory.'],
  );
}
