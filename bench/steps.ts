import { openDispute, untilClosed } from './dispute.ts';
import { publishTo, woken } from './looked-at.ts';
import type { Measure } from './measurement.ts';
import { quantile } from './quantile.ts';
import { pause, RunningHost } from './running-host.ts';
import { ms, table, verdict } from './table.ts';

const aimMs = 20;
const everyMs = 20;

interface StepTime {
  /** From right before the publish request to the commit of the step, by the wall clock that both processes share. */
  readonly committedMs: number;
  /** Until the log entry is durable, and has come by the live stream. */
  readonly toldMs: number;
}

/** Steps of services that are awake, fifty a second: six services in turn, one message every 20 ms. */
export const measureSteps: Measure = async ({ quick, progress }) => {
  const count = quick ? 300 : 1500;
  const figures: Record<string, readonly StepTime[]> = {};
  for (const [placement, ...options] of [
    ['processes', '--idle', '60s'],
    ['inline', '--inline', 'all'],
  ] as const) {
    const host = await RunningHost.start('--no-sample', ...options);
    try {
      figures[placement] = await stepsOf(host, count);
      progress(`${placement}: ${count} steps`);
    } finally {
      await host.stop();
    }
  }
  return { report: report(figures), figures };
};

async function stepsOf(host: RunningHost, count: number): Promise<StepTime[]> {
  const dispute = await untilClosed(host, await openDispute(host));
  const sentAt = new Map<string, number>();
  const times: StepTime[] = [];
  const over = new AbortController();
  const told = (async () => {
    for await (const { at, kind, entry } of host.follow(dispute.id, over.signal)) {
      const from = sentAt.get(entry.cause.id);
      if (from === undefined) continue;
      if (kind === 'journal') throw new Error(`the handler failed: ${JSON.stringify(entry)}`);
      times.push({ committedMs: at - from, toldMs: wallClock() - from });
      if (times.length === count) return;
    }
  })();
  // A first round wakes them all; it is not counted.
  for (const [n, service] of woken.entries()) await publishTo(host, service, dispute, `warm-${n}`);
  await pause(3_000);
  const startedAt = performance.now();
  for (let n = 0; n < count; n++) {
    await pause(Math.max(0, startedAt + n * everyMs - performance.now()));
    const id = `bench-${n}`;
    sentAt.set(id, wallClock());
    void publishTo(host, woken[n % woken.length]!, dispute, id);
  }
  await told;
  over.abort();
  return times;
}

function wallClock(): number {
  return performance.timeOrigin + performance.now();
}

function report(figures: Readonly<Record<string, readonly StepTime[]>>): string {
  const rows = Object.entries(figures).map(([placement, times]) => {
    const of = (key: keyof StepTime, fraction: number) =>
      quantile(
        times.map((each) => each[key]),
        fraction,
      );
    const p95 = of('committedMs', 0.95);
    return [
      placement,
      ms(of('committedMs', 0.5)),
      ms(p95),
      verdict(p95, aimMs),
      ms(of('toldMs', 0.5)),
      ms(of('toldMs', 0.95)),
      ms(of('toldMs', 1)),
    ];
  });
  return table(
    `steps: publish to commit when awake, ${Object.values(figures)[0]!.length} steps at ${1000 / everyMs} a second`,
    [['', 'p50', 'p95', `aim ${aimMs} ms`, 'told, p50', 'p95', 'most'], ...rows],
    ['told: until the entry is durable, and the live stream has brought it to the client.'],
  );
}
