import type { Measure } from './measurement.ts';
import { scheduledMs } from './proc.ts';
import { PubsubRest } from './pubsub-rest.ts';
import { PubsubServer } from './pubsub-server.ts';
import { median } from './quantile.ts';
import { ratio, table, verdict, whole } from './table.ts';

const sizes = [1, 10, 100];
const batch = 100;
const bytes = 256;
const aim = 1.1;

interface Publishing {
  readonly perSecond: number;
  /** Of the broker, all its threads, for one message. */
  readonly cpuMicroseconds: number;
}

/** What a publish costs when the topic has 1, 10 and 100 subscriptions that nobody pulls from. */
export const measureFanout: Measure = async ({ quick, progress }) => {
  const runs = quick ? 5 : 15;
  const messages = quick ? 5_000 : 20_000;
  const server = await PubsubServer.broker();
  const rest = new PubsubRest(server.port, 1);
  try {
    const topicOf = (size: number) => `projects/bench/topics/fanout-${size}`;
    for (const size of sizes) {
      for (let n = 0; n < size; n++) {
        await rest.create(topicOf(size), `projects/bench/subscriptions/fanout-${size}-${n}`);
      }
    }
    const figures = new Map<number, Publishing[]>(sizes.map((size) => [size, []]));
    for (let run = 0; run <= runs; run++) {
      progress(`round ${run} of ${runs}`);
      for (const size of sizes) {
        const cpuBefore = scheduledMs(server.pid);
        const startedAt = performance.now();
        await rest.publishAll(topicOf(size), messages, { batch, bytes });
        const tookMs = performance.now() - startedAt;
        const cpuMs = scheduledMs(server.pid) - cpuBefore;
        // The first round warms up.
        if (run === 0) continue;
        figures.get(size)!.push({ perSecond: (messages / tookMs) * 1000, cpuMicroseconds: (cpuMs / messages) * 1000 });
      }
    }
    return { report: report(figures, messages, runs), figures: Object.fromEntries(figures) };
  } finally {
    rest.close();
    await server.stop();
  }
};

function report(figures: ReadonlyMap<number, readonly Publishing[]>, messages: number, runs: number): string {
  const of = (size: number, key: keyof Publishing) => median(figures.get(size)!.map((each) => each[key]));
  const rows = sizes.map((size) => {
    const slower = of(1, 'perSecond') / of(size, 'perSecond');
    const cpu = of(size, 'cpuMicroseconds') / of(1, 'cpuMicroseconds');
    return [
      `${size} subscription${size > 1 ? 's' : ''}`,
      whole(of(size, 'perSecond')),
      ratio(slower),
      verdict(slower, aim),
      of(size, 'cpuMicroseconds').toFixed(1),
      ratio(cpu),
      verdict(cpu, aim),
    ];
  });
  return table(
    `fanout: publish over REST, 1 connection, batches of ${batch} × ${bytes} B, ${whole(messages)} messages a measure, medians of ${runs}`,
    [['', 'messages/s', 'time', `aim ${aim} ×`, 'CPU, µs a message', 'CPU', `aim ${aim} ×`], ...rows],
    ['time, CPU: of one message, beside the same with one subscription.'],
  );
}
