import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { Database } from '@dormouse/broker';
import { blockingSync, type Disk, prepareWrite, slowSyncMs } from './disk.ts';
import type { Measure } from './measurement.ts';
import { quantile } from './quantile.ts';
import { pause } from './running-host.ts';
import { ms, ratio, table } from './table.ts';

/** Writes one row; resolves when it is durable. */
type Write = () => Promise<unknown>;

interface Opened {
  readonly write: Write;
  close(): Promise<unknown>;
}

/** Where SQLite runs, and where the wait for the disk. */
const variants: Readonly<Record<string, (path: string, disk: Disk) => Opened | Promise<Opened>>> = {
  'host thread, sync on the pool (ours)': (path, disk) => {
    const database = new Database(path, disk === 'slow' ? { sync: () => pause(slowSyncMs) } : {});
    const work = prepareWrite(database);
    return { write: () => database.write(work), close: () => database.close() };
  },
  // As `synchronous = FULL` does.
  'host thread, sync in the commit': (path, disk) => {
    const database = new Database(path, { sync: blockingSync(path, disk) });
    const work = prepareWrite(database);
    return { write: () => database.write(work), close: () => database.close() };
  },
  'thread of its own, sync in the commit': async (path, disk) => {
    const worker = new Worker(new URL('./sync-worker.ts', import.meta.url), { workerData: { path, disk } });
    await once(worker, 'message');
    const waiting: (() => void)[] = [];
    let unsent = 0;
    worker.on('message', (durable: number) => {
      for (const resolve of waiting.splice(0, durable)) resolve();
    });
    // The writes of one turn travel together, so that they find each other in one group.
    const send = () => {
      worker.postMessage(unsent);
      unsent = 0;
    };
    return {
      write: () =>
        new Promise<void>((resolve) => {
          waiting.push(resolve);
          if (unsent++ === 0) setImmediate(send);
        }),
      close: () => worker.terminate(),
    };
  },
};

interface Figures {
  readonly disk: Disk;
  readonly writers: number;
  readonly variant: string;
  readonly writesPerSecond: number;
  readonly writeMs: { readonly p50: number; readonly p99: number };
  /** How late a timer fires on the host's thread: what a push or a wake would have to wait. */
  readonly loopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly cpuMsPerWrite: number;
}

/**
 * Why SQLite runs on the host's thread and fdatasync on libuv's pool: what each way does to the event loop and to the
 * writes, on this machine's disk and on one that takes 10 ms to sync.
 */
export const measureSync: Measure = async ({ quick, progress }) => {
  const forMs = quick ? 1_000 : 5_000;
  const folder = mkdtempSync(join(tmpdir(), 'dormouse-bench-'));
  const all: Figures[] = [];
  try {
    for (const disk of ['real', 'slow'] as const) {
      for (const writers of [1, 10, 100]) {
        for (const [variant, open] of Object.entries(variants)) {
          const { write, close } = await open(join(folder, `${all.length}.db`), disk);
          await runWriters(write, writers, forMs / 10);
          all.push({ disk, writers, variant, ...(await runWriters(write, writers, forMs)) });
          await close();
        }
        progress(`${disk} disk, ${writers} writers`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  const idleLoop = monitorEventLoopDelay({ resolution: 1 });
  idleLoop.enable();
  await pause(500);
  const idleP99Ms = idleLoop.percentile(99) / 1e6;
  return { report: report(all, idleP99Ms), figures: { forMs, idleP99Ms, all } };
};

async function runWriters(
  write: Write,
  writers: number,
  forMs: number,
): Promise<Omit<Figures, 'disk' | 'writers' | 'variant'>> {
  const times: number[] = [];
  const loop = monitorEventLoopDelay({ resolution: 1 });
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  loop.enable();
  await Promise.all(
    Array.from({ length: writers }, async () => {
      while (performance.now() - startedAt < forMs) {
        const from = performance.now();
        await write();
        times.push(performance.now() - from);
      }
    }),
  );
  loop.disable();
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  return {
    writesPerSecond: (times.length / elapsedMs) * 1000,
    writeMs: { p50: quantile(times, 0.5), p99: quantile(times, 0.99) },
    loopDelayMs: { p50: loop.percentile(50) / 1e6, p99: loop.percentile(99) / 1e6, max: loop.max / 1e6 },
    cpuMsPerWrite: (user + system) / 1000 / times.length,
  };
}

function report(all: readonly Figures[], idleP99Ms: number): string {
  const sections = (['real', 'slow'] as const).map((disk) => {
    const rows = [1, 10, 100].flatMap((writers) => [
      [`${writers} in flight`],
      ...all
        .filter((each) => each.disk === disk && each.writers === writers)
        .map(({ variant, writesPerSecond, writeMs, loopDelayMs, cpuMsPerWrite }) => [
          `  ${variant}`,
          String(Math.round(writesPerSecond)),
          ms(writeMs.p50),
          ms(writeMs.p99),
          ms(loopDelayMs.p99),
          ratio(loopDelayMs.p99 / idleP99Ms),
          ms(loopDelayMs.max),
          `${Math.round(cpuMsPerWrite * 1000)} µs`,
        ]),
    ]);
    return table(`sync: ${disk === 'real' ? "this machine's disk" : `a disk that takes ${slowSyncMs} ms to sync`}`, [
      ['', 'writes/s', 'write p50', 'write p99', 'loop delay p99', '/ idle', 'max', 'CPU a write'],
      ...rows,
    ]);
  });
  const note = `Loop delay of an idle process by the same meter: p99 ${ms(idleP99Ms)}.`;
  return [...sections, note].join('\n\n');
}
