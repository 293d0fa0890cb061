import { startBareServer } from './bare-server.ts';
import type { Measure } from './measurement.ts';
import { cpuTime, cpuTimeSince, type Memory, memoryOf, processCount, scheduledMs } from './proc.ts';
import { median } from './quantile.ts';
import { pause, RunningHost } from './running-host.ts';
import { megabytes, ratio, table, verdict } from './table.ts';

const aimBytes = 120e6;
/** What the host does right after its last service fell asleep belongs to the work. */
const settleMs = 3_000;
/** Less in a second is a thread that looked whether there was something to do. */
const idleMs = 0.5;

interface Watched {
  readonly processes: number;
  readonly memoryBefore: Memory;
  readonly memory: Memory;
  /** CPU time of the process and all below it, in ticks of 10 ms. */
  readonly cpuMs: number;
  /** Time on a CPU in each second, by the scheduler's finer account. */
  readonly secondsMs: readonly number[];
}

/** What a system costs when its work is done: the sample case is closed and six services sleep. */
export const measureAsleep: Measure = async ({ quick, progress }) => {
  const seconds = quick ? 10 : 60;
  progress('starting with the sample case');
  const host = await RunningHost.start('--idle', '1s');
  const bare = await startBareServer('import');
  try {
    await host.untilAllSleep();
    await pause(settleMs);
    progress(`asleep; watching for ${seconds} s`);
    const [ofHost, ofBare] = await Promise.all([watch(host.pid, seconds), watch(bare.pid, seconds)]);
    return { report: report(ofHost, ofBare), figures: { seconds, host: ofHost, bare: ofBare } };
  } finally {
    await bare.stop();
    await host.stop();
  }
};

/** Looks on through /proc alone: an answer would cost the process time. */
async function watch(pid: number, seconds: number): Promise<Watched> {
  const memoryBefore = memoryOf(pid);
  const before = cpuTime(pid);
  const secondsMs: number[] = [];
  for (let from = scheduledMs(pid); secondsMs.length < seconds; ) {
    await pause(1_000);
    const to = scheduledMs(pid);
    secondsMs.push(to - from);
    from = to;
  }
  const { ownMs, descendantsMs } = cpuTimeSince(pid, before);
  return { processes: processCount(pid), memoryBefore, memory: memoryOf(pid), cpuMs: ownMs + descendantsMs, secondsMs };
}

function report(host: Watched, bare: Watched): string {
  const seconds = host.secondsMs.length;
  const bytes = (name: string, of: (watched: Watched) => number, aim = '') => [
    name,
    megabytes(of(host)),
    megabytes(of(bare)),
    ratio(of(host) / of(bare)),
    aim,
  ];
  const percent = (usedMs: number, ofMs: number) => `${((usedMs / ofMs) * 100).toFixed(2)} %`;
  const cpu = (name: string, of: (watched: Watched) => string, aim = '') => [name, of(host), of(bare), '', aim];
  // Rounded as `top` shows it.
  const used = Math.round(host.cpuMs / seconds / 10);
  return table(
    `asleep: after the sample case, six services asleep, watched for ${seconds} s`,
    [
      ['', 'host', 'bare server', 'ratio', 'aim'],
      ['processes', String(host.processes), String(bare.processes), '', `1: ${verdict(host.processes, 1)}`],
      bytes('memory (RSS), just asleep', ({ memoryBefore }) => memoryBefore.rssBytes),
      bytes(
        'memory (RSS), at the end',
        ({ memory }) => memory.rssBytes,
        `< ${megabytes(aimBytes)}: ${verdict(host.memory.rssBytes, aimBytes)}`,
      ),
      bytes('  anonymous (heap, stacks)', ({ memory }) => memory.anonymousBytes),
      bytes('  files (node itself, shared)', ({ memory }) => memory.fileBytes),
      cpu('CPU', ({ cpuMs }) => percent(cpuMs, seconds * 1000), `0 %: ${verdict(used, 0)}`),
      cpu('CPU, median second', ({ secondsMs }) => percent(median(secondsMs), 1000)),
      cpu('seconds with any work', ({ secondsMs }) => String(secondsMs.filter((each) => each > idleMs).length)),
    ],
    ['The work of a host asleep is a garbage collection or two, about half a minute after the last of its real work.'],
  );
}
