import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Measure } from './measurement.ts';
import { memoryOf } from './proc.ts';
import { PubsubRest } from './pubsub-rest.ts';
import { PubsubServer } from './pubsub-server.ts';
import { median } from './quantile.ts';
import { pause } from './running-host.ts';
import { megabytes, ms, ratio, table, verdict, whole } from './table.ts';

const batch = 100;
const fillBatch = 1000;
const bytes = 256;
const connections = 8;
const aim = { ratio: 1.2, memoryBytes: 300e6, restartMs: 2_000 };
/** With the write-ahead log at its largest. */
const bytesOnDisk = 900;
const backoff = '600s';

const topic = 'projects/bench/topics/backlog';
const subscription = 'projects/bench/subscriptions/backlog';

interface Rates {
  readonly publish: number;
  readonly drain: number;
}

interface Sized {
  readonly size: number;
  /** Of an empty broker and of this one, in turn. */
  readonly empty: readonly Rates[];
  readonly full: readonly Rates[];
  readonly memoryBytes: number;
  /** From the command to the first message that is pulled. */
  readonly restartsMs: readonly number[];
}

interface BackingOff {
  readonly messages: number;
  readonly memoryBefore: number;
  readonly memoryAfter: number;
  readonly nacksPerSecond: number;
  readonly restartMs: number;
}

/** What a backlog costs those who go on publishing and pulling; its memory and its restart; and messages that all wait for their retry. */
export const measureBacklog: Measure = async ({ quick, progress }) => {
  const sizes = quick ? [0, 100_000] : [0, 1_000_000, 10_000_000];
  const waiting = quick ? 20_000 : 1_000_000;
  refuseSmallDisk(Math.max(...sizes));
  const sized: Sized[] = [];
  for (const size of sizes) sized.push(await measureSize(size, quick ? 3 : 5, quick ? 5_000 : 20_000, progress));
  progress(`${whole(waiting)} messages that back off`);
  const backingOff = await measureBackoff(waiting);
  return { report: report(sized, backingOff), figures: { sized, backingOff } };
};

function refuseSmallDisk(messages: number): void {
  const { bavail, bsize } = statfsSync(tmpdir());
  const [needed, free] = [messages * bytesOnDisk, bavail * bsize];
  if (free >= needed) return;
  throw new Error(
    `backlog: ${whole(messages)} messages need ${megabytes(needed)} in ${tmpdir()}, ${megabytes(free)} are free; set TMPDIR`,
  );
}

async function measureSize(
  size: number,
  runs: number,
  messages: number,
  progress: (text: string) => void,
): Promise<Sized> {
  let server = await PubsubServer.broker();
  const beside = await PubsubServer.broker();
  try {
    const of = ({ port }: PubsubServer) => new PubsubRest(port, connections);
    for (const each of [server, beside]) await of(each).create(topic, subscription);
    progress(`fills in ${whole(size)}`);
    await of(server).publishAll(topic, size, { batch: fillBatch, bytes });
    await pause(3_000);
    const [empty, full]: [Rates[], Rates[]] = [[], []];
    for (let run = 0; run <= runs; run++) {
      progress(`backlog of ${whole(size)}: round ${run} of ${runs}`);
      for (const [each, rates] of [
        [beside, empty],
        [server, full],
      ] as const) {
        const measured = await ratesOf(of(each), messages);
        // The first round warms up.
        if (run > 0) rates.push(measured);
      }
    }
    const memoryBytes = memoryOf(server.pid).rssBytes;
    const restartsMs: number[] = [];
    for (let run = 0; size > 0 && run < 3; run++) {
      await server.halt();
      const startedAt = performance.now();
      server = await PubsubServer.broker(server.folder);
      if ((await of(server).pull(subscription, 1)).length === 0)
        throw new Error('backlog: nothing came after a restart');
      restartsMs.push(performance.now() - startedAt);
    }
    return { size, empty, full, memoryBytes, restartsMs };
  } finally {
    for (const each of [server, beside]) await each.stop();
  }
}

async function ratesOf(rest: PubsubRest, messages: number): Promise<Rates> {
  const rate = async (work: Promise<void>) => {
    const startedAt = performance.now();
    await work;
    return (messages / (performance.now() - startedAt)) * 1000;
  };
  const publish = await rate(rest.publishAll(topic, messages, { batch, bytes }));
  const drain = await rate(rest.drain(subscription, messages, batch));
  rest.close();
  return { publish, drain };
}

async function measureBackoff(messages: number): Promise<BackingOff> {
  let server = await PubsubServer.broker();
  try {
    let rest = new PubsubRest(server.port, connections);
    await rest.create(topic, subscription, { retryPolicy: { minimumBackoff: backoff, maximumBackoff: backoff } });
    await rest.publishAll(topic, messages, { batch: fillBatch, bytes });
    await pause(3_000);
    const memoryBefore = memoryOf(server.pid).rssBytes;
    const startedAt = performance.now();
    await rest.nackAll(subscription, messages, fillBatch);
    const nacksPerSecond = (messages / (performance.now() - startedAt)) * 1000;
    await pause(3_000);
    const memoryAfter = memoryOf(server.pid).rssBytes;
    rest.close();
    await server.halt();
    const restartedAt = performance.now();
    server = await PubsubServer.broker(server.folder);
    rest = new PubsubRest(server.port, 1);
    // All others wait: this one comes first.
    await rest.publishAll(topic, 1, { batch: 1, bytes });
    await rest.drain(subscription, 1, 1);
    const restartMs = performance.now() - restartedAt;
    rest.close();
    return { messages, memoryBefore, memoryAfter, nacksPerSecond, restartMs };
  } finally {
    await server.stop();
  }
}

function report(sized: readonly Sized[], backingOff: BackingOff): string {
  const rows = sized.map(({ size, empty, full, memoryBytes, restartsMs }) => {
    const of = (rates: readonly Rates[], key: keyof Rates) => median(rates.map((each) => each[key]));
    const slower = (key: keyof Rates) => of(empty, key) / of(full, key);
    return [
      `${whole(size)} messages`,
      whole(of(full, 'publish')),
      ratio(slower('publish')),
      whole(of(full, 'drain')),
      ratio(slower('drain')),
      verdict(Math.max(slower('publish'), slower('drain')), aim.ratio),
      megabytes(memoryBytes),
      verdict(memoryBytes, aim.memoryBytes),
      ...(size > 0 ? [ms(median(restartsMs)), verdict(median(restartsMs), aim.restartMs)] : ['-', '-']),
    ];
  });
  const head = ['', 'publish/s', 'time', 'drain/s', 'time', `aim ${aim.ratio} ×`, 'memory (RSS)', 'aim 300 MB'];
  const { messages, memoryBefore, memoryAfter, nacksPerSecond, restartMs } = backingOff;
  return table(
    `backlog: over REST, ${connections} connections, batches of ${batch} × ${bytes} B, medians; messages/s while so many others wait`,
    [[...head, 'restart to first message', 'aim 2 s'], ...rows],
    [
      'time: of one message, beside an empty broker in the same minutes.',
      `${whole(messages)} messages that all back off: ${megabytes(memoryBefore)} before they were nacked, ${megabytes(memoryAfter)} after;`,
      `${whole(nacksPerSecond)} pulled and nacked a second; ${ms(restartMs)} from a restart to a message that came after them.`,
    ],
  );
}
