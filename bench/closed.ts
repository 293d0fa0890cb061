import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { multiply } from './closed-cases.ts';
import { openDispute, untilClosed } from './dispute.ts';
import type { Measure } from './measurement.ts';
import { type Memory, memoryOf } from './proc.ts';
import { median, quantile } from './quantile.ts';
import { pause, RunningHost } from './running-host.ts';
import { megabytes, ms, table, verdict } from './table.ts';

const aims = { startMs: 2_000, readMs: 50, rss: 1.1 };
const reads = 50;

interface Run {
  readonly startMs: number;
  readonly list: readonly number[];
  readonly listDeep: readonly number[];
  readonly trace: readonly number[];
  readonly topics: readonly number[];
  readonly memory: Memory;
  /** After the reads, ten thousand cases among them. */
  readonly memoryAfter: Memory;
}

/** A data directory with one closed case, then the same with a hundred thousand: start, reads, memory, bytes. */
export const measureClosed: Measure = async ({ quick, progress }) => {
  const count = quick ? 10_000 : 100_000;
  const first = await RunningHost.start('--no-sample', '--idle', '1s');
  const dataFolder = first.dataFolder;
  let host = first;
  try {
    const { id } = await untilClosed(first, await openDispute(first));
    await first.untilAllSleep();
    await first.halt();
    const one = folderBytes(dataFolder);
    host = await RunningHost.startOn(dataFolder, '--no-sample');
    const few = await measure(host, id);
    await host.halt();
    const bytesACase = multiply(join(dataFolder, 'dormouse.db'), id, count, progress);
    host = await RunningHost.startOn(dataFolder, '--no-sample');
    const many = await measure(host, id);
    const bytes = { ...one, aCase: bytesACase };
    return { report: report(count, few, many, bytes), figures: { count, few, many, bytes } };
  } finally {
    await host.stop();
  }
};

async function measure(host: RunningHost, id: string): Promise<Run> {
  const { startMs } = host;
  await pause(3_000);
  const memory = memoryOf(host.pid);
  const timed = async (path: () => string) => {
    const times: number[] = [];
    for (let n = 0; n < reads; n++) {
      const from = performance.now();
      await host.get(path());
      times.push(performance.now() - from);
    }
    return times;
  };
  let cursor = '';
  for (let page = 0; page < 20; page++) {
    const next = (await host.get<{ cursor?: string }>(`/api/workflows?limit=500${cursor}`)).cursor;
    if (!next) break;
    cursor = `&cursor=${next}`;
  }
  const list = await timed(() => '/api/workflows');
  const listDeep = await timed(() => `/api/workflows?${cursor.slice(1)}`);
  const trace = await timed(() => `/api/workflows/${id}/trace`);
  const topics = await timed(() => '/api/topics');
  return { startMs, list, listDeep, trace, topics, memory, memoryAfter: memoryOf(host.pid) };
}

function folderBytes(dataFolder: string): { readonly filesBytes: number } {
  const files = readdirSync(join(dataFolder, 'files'), { recursive: true, withFileTypes: true }).filter((file) =>
    file.isFile(),
  );
  return { filesBytes: files.reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0) };
}

function report(
  count: number,
  few: Run,
  many: Run,
  bytes: { readonly filesBytes: number; readonly aCase: number },
): string {
  const p95 = (name: string, of: (run: Run) => readonly number[], aim = true) => [
    name,
    `${ms(median(of(few)))}, ${ms(quantile(of(few), 0.95))}`,
    `${ms(median(of(many)))}, ${ms(quantile(of(many), 0.95))}`,
    aim ? verdict(quantile(of(many), 0.95), aims.readMs) : '',
  ];
  const rss = (run: Run) => run.memory.rssBytes;
  return table(
    `closed: a data directory with one closed case, and with ${count.toLocaleString('en')}`,
    [
      ['', 'one', 'many', 'aim'],
      ['start to up', ms(few.startMs), ms(many.startMs), verdict(many.startMs, aims.startMs)],
      p95('list, first page (p50, p95)', ({ list }) => list),
      p95('list, 20 pages of 500 on', ({ listDeep }) => listDeep),
      p95('trace', ({ trace }) => trace),
      p95('topics with their backlogs', ({ topics }) => topics, false),
      [
        "host's memory (RSS) at rest",
        megabytes(rss(few)),
        megabytes(rss(many)),
        verdict(rss(many) / rss(few), aims.rss),
      ],
      ['after those reads', megabytes(few.memoryAfter.rssBytes), megabytes(many.memoryAfter.rssBytes), ''],
      ['database, a case', '', `${Math.round(bytes.aCase).toLocaleString('en')} bytes`, ''],
      ['files, a case', `${bytes.filesBytes.toLocaleString('en')} bytes`, '', ''],
    ],
    [
      'The many are copies of the one, row by row, under ids of their own, with chains that hold; messages, as pruned, left out.',
    ],
  );
}
