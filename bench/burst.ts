import { type Dispute, openDispute, untilClosed } from './dispute.ts';
import type { Measure } from './measurement.ts';
import { memoryOf, processCount } from './proc.ts';
import { quantile } from './quantile.ts';
import { pause, RunningHost } from './running-host.ts';
import { megabytes, ms, table } from './table.ts';

const openAtATime = 20;
const otherEveryMs = 5_000;

interface Sample {
  readonly atMs: number;
  /** Messages that wait or are under way. */
  readonly backlog: number;
  readonly rssBytes: number;
  readonly processes: number;
}

/** Ten thousand cases of one tenant at once, and now and then one of another. */
export const measureBurst: Measure = async ({ quick, progress }) => {
  const count = quick ? 300 : 10_000;
  const host = await RunningHost.start('--no-sample');
  try {
    const alone: number[] = [];
    for (let n = 0; n < 5; n++) alone.push(await caseMs(host, 'small'));
    const before = memoryOf(host.pid).rssBytes;
    const samples: Sample[] = [];
    const beside: number[] = [];
    const others: Promise<unknown>[] = [];
    const startedAt = performance.now();
    const accepted = openAll(host, count).then(() => performance.now() - startedAt);
    let acceptedMs: number | undefined;
    void accepted.then((value) => {
      acceptedMs = value;
    });
    for (let nextAt = startedAt + 1_000, told = 0; ; ) {
      const backlog = await backlogOf(host);
      samples.push({
        atMs: performance.now() - startedAt,
        backlog,
        rssBytes: memoryOf(host.pid).rssBytes,
        processes: processCount(host.pid),
      });
      if (acceptedMs !== undefined && backlog === 0 && (await openCases(host)) === 0) break;
      if (performance.now() >= nextAt && backlog > 100) {
        others.push(caseMs(host, 'small').then((value) => beside.push(value)));
        nextAt = performance.now() + otherEveryMs;
      }
      if (performance.now() - startedAt > told) {
        progress(
          `after ${Math.round(told / 1000)} s: ${backlog} messages wait, ${megabytes(samples.at(-1)!.rssBytes)}`,
        );
        told += 30_000;
      }
      await pause(1_000);
    }
    const workedOffMs = performance.now() - startedAt;
    await Promise.all(others);
    await allClosed(host, count);
    const figures = { count, acceptedMs: await accepted, workedOffMs, before, samples, alone, beside };
    return { report: report(figures), figures };
  } finally {
    await host.stop();
  }
};

async function caseMs(host: RunningHost, tenant: string): Promise<number> {
  const { createdAt, admin } = await untilClosed(host, await openDispute(host, tenant));
  return Date.parse(admin!.closedAt!) - Date.parse(createdAt);
}

async function openAll(host: RunningHost, count: number): Promise<void> {
  let left = count;
  const open = async (): Promise<void> => {
    while (left-- > 0) await openDispute(host, 'big', { clean: true });
  };
  await Promise.all(Array.from({ length: openAtATime }, open));
}

async function backlogOf(host: RunningHost): Promise<number> {
  const { topics } = await host.get<{ topics: { subscriptions: { backlog: number }[] }[] }>('/api/topics');
  return topics.flatMap(({ subscriptions }) => subscriptions).reduce((sum, { backlog }) => sum + backlog, 0);
}

/** Cases that are not over among the newest; where letters are out, nothing waits in any log. */
async function openCases(host: RunningHost): Promise<number> {
  const { workflows } = await host.get<{ workflows: Dispute[] }>('/api/workflows?limit=500');
  return workflows.filter(({ status }) => status !== 'closed').length;
}

async function allClosed(host: RunningHost, count: number): Promise<void> {
  let closed = 0;
  for (let cursor = ''; ; ) {
    const page = await host.get<{ workflows: Dispute[]; cursor?: string }>(`/api/workflows?limit=500${cursor}`);
    closed += page.workflows.filter(({ status }) => status === 'closed').length;
    const open = page.workflows.find(({ status }) => status !== 'closed');
    if (open) throw new Error(`${open.id} ended as ${open.status}, not closed`);
    if (!page.cursor) break;
    cursor = `&cursor=${page.cursor}`;
  }
  if (closed < count) throw new Error(`of ${count} cases there are ${closed}`);
}

function report(figures: {
  readonly count: number;
  readonly acceptedMs: number;
  readonly workedOffMs: number;
  readonly before: number;
  readonly samples: readonly Sample[];
  readonly alone: readonly number[];
  readonly beside: readonly number[];
}): string {
  const { count, acceptedMs, workedOffMs, before, samples, alone, beside } = figures;
  const rss = (from: number, to: number) =>
    megabytes(
      Math.max(
        ...samples
          .filter(({ atMs }) => atMs >= workedOffMs * from && atMs <= workedOffMs * to)
          .map(({ rssBytes }) => rssBytes),
      ),
    );
  const aSecond = (elapsedMs: number) => `${((count / elapsedMs) * 1000).toFixed(1)} a second`;
  return table(
    `burst: ${count.toLocaleString('en')} cases without letters of one tenant at once`,
    [
      ['', ''],
      ['accepted', aSecond(acceptedMs)],
      ['worked off', aSecond(workedOffMs)],
      ['most messages that waited', String(Math.max(...samples.map(({ backlog }) => backlog)))],
      ["host's memory (RSS) before", megabytes(before)],
      ['most in the first quarter', rss(0, 0.25)],
      ['in the second', rss(0.25, 0.5)],
      ['in the third', rss(0.5, 0.75)],
      ['in the last', rss(0.75, 1)],
      ['processes at most', String(Math.max(...samples.map(({ processes }) => processes)))],
      ['a case of another tenant, alone, p50', ms(quantile(alone, 0.5))],
      [`during the burst, p50 of ${beside.length}`, ms(quantile(beside, 0.5))],
      ['p95', ms(quantile(beside, 0.95))],
      ['most', ms(quantile(beside, 1))],
    ],
    [
      'The case of the other tenant has two letters; about a second of it is the sandbox, whose counterparties take that long to answer.',
    ],
  );
}
