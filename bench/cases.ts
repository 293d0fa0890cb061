import { closed, type Dispute, openDispute, overAmong, untilClosed } from './dispute.ts';
import type { Measure } from './measurement.ts';
import { type CpuTime, cpuTime, cpuTimeSince, type Memory, memoryOf } from './proc.ts';
import { quantile } from './quantile.ts';
import { pause, RunningHost } from './running-host.ts';
import { megabytes, ms, ratio, table } from './table.ts';

const inFlight = 100;

interface Block {
  readonly cases: number;
  readonly elapsedMs: number;
  /** Created to closed, of each case. */
  readonly caseMs: readonly number[];
  readonly cpu: CpuTime;
  /** Processes started. */
  readonly wakes: number;
}

type Placement = 'inline' | 'processes';

/**
 * Cases a second with 100 in flight, services inside the host and as processes. Two hosts take turns, one works while
 * the other sleeps, in an order that favours neither (A B B A), so that what else the machine does hits both.
 */
export const measureCases: Measure = async ({ quick, progress }) => {
  const casesPerBlock = quick ? 100 : 300;
  const hosts = {
    inline: await RunningHost.start('--no-sample', '--inline', 'all'),
    processes: await RunningHost.start('--no-sample', '--idle', '2s'),
  };
  const blocks: Record<Placement, Block[]> = { inline: [], processes: [] };
  try {
    for (const placement of ['inline', 'processes', 'processes', 'inline'] as const) {
      const host = hosts[placement];
      await untilClosed(host, await openDispute(host));
      const block = await runBlock(host, casesPerBlock);
      blocks[placement].push(block);
      progress(
        `${placement}: ${casesPerBlock} cases, ${(casesPerBlock / (block.elapsedMs / 1000)).toFixed(1)} a second`,
      );
      await host.untilAllSleep();
    }
    const inline = summary(blocks.inline, memoryOf(hosts.inline.pid));
    const processes = summary(blocks.processes, memoryOf(hosts.processes.pid));
    return { report: report(inline, processes), figures: { inFlight, inline, processes, blocks } };
  } finally {
    await Promise.all([hosts.inline.stop(), hosts.processes.stop()]);
  }
};

/** Opens a case whenever one closes, until all are closed. */
async function runBlock(host: RunningHost, count: number): Promise<Block> {
  const before = cpuTime(host.pid);
  const wakesBefore = await host.wakes();
  const startedAt = performance.now();
  const open = new Set<string>();
  const done: Dispute[] = [];
  for (let opened = 0; done.length < count; ) {
    const fresh = Math.min(inFlight - open.size, count - opened);
    opened += fresh;
    for (const id of await Promise.all(Array.from({ length: fresh }, () => openDispute(host)))) open.add(id);
    await pause(50);
    for (const dispute of await overAmong(host, open)) {
      open.delete(dispute.id);
      done.push(closed(dispute));
    }
  }
  return {
    cases: count,
    elapsedMs: performance.now() - startedAt,
    caseMs: done.map(({ createdAt, admin }) => Date.parse(admin!.closedAt!) - Date.parse(createdAt)),
    cpu: cpuTimeSince(host.pid, before),
    wakes: (await host.wakes()) - wakesBefore,
  };
}

interface Summary {
  readonly cases: number;
  readonly perSecond: number;
  readonly caseMsP50: number;
  readonly caseMsP95: number;
  readonly hostCpuMsPerCase: number;
  readonly servicesCpuMsPerCase: number;
  readonly cpusBusy: number;
  readonly wakes: number;
  readonly hostRssBytes: number;
}

function summary(blocks: readonly Block[], { rssBytes }: Memory): Summary {
  const sum = (of: (block: Block) => number) => blocks.reduce((total, block) => total + of(block), 0);
  const cases = sum((block) => block.cases);
  const elapsedMs = sum((block) => block.elapsedMs);
  const hostMs = sum(({ cpu }) => cpu.ownMs);
  const servicesMs = sum(({ cpu }) => cpu.descendantsMs);
  const caseMs = blocks.flatMap((block) => block.caseMs);
  return {
    cases,
    perSecond: cases / (elapsedMs / 1000),
    caseMsP50: quantile(caseMs, 0.5),
    caseMsP95: quantile(caseMs, 0.95),
    hostCpuMsPerCase: hostMs / cases,
    servicesCpuMsPerCase: servicesMs / cases,
    cpusBusy: (hostMs + servicesMs) / elapsedMs,
    wakes: sum((block) => block.wakes),
    hostRssBytes: rssBytes,
  };
}

function report(inline: Summary, processes: Summary): string {
  const row = (name: string, of: (summary: Summary) => number, unit: (value: number) => string) => {
    const [a, b] = [of(inline), of(processes)];
    return [name, unit(a), unit(b), a === 0 ? '' : ratio(b / a)];
  };
  const figure = (digits: number) => (value: number) => value.toFixed(digits);
  return table(
    `cases: ${inline.cases} small cases (2 letters) each way, ${inFlight} in flight`,
    [
      ['', 'inline', 'processes', 'processes / inline'],
      row('cases a second', ({ perSecond }) => perSecond, figure(1)),
      row('created to closed, p50', ({ caseMsP50 }) => caseMsP50, ms),
      row('created to closed, p95', ({ caseMsP95 }) => caseMsP95, ms),
      row('CPU a case, host', ({ hostCpuMsPerCase }) => hostCpuMsPerCase, ms),
      row('CPU a case, services', ({ servicesCpuMsPerCase }) => servicesCpuMsPerCase, ms),
      row('CPU a case, all', (of) => of.hostCpuMsPerCase + of.servicesCpuMsPerCase, ms),
      row('CPUs busy', ({ cpusBusy }) => cpusBusy, figure(2)),
      row('processes started', ({ wakes }) => wakes, figure(0)),
      row("host's memory (RSS) after", ({ hostRssBytes }) => hostRssBytes, megabytes),
    ],
    ['About a second of each case is the sandbox: its counterparties take that long to answer.'],
  );
}
