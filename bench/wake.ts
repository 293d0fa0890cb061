import { type BareKind, startBareServer } from './bare-server.ts';
import { type Dispute, openDispute, untilClosed } from './dispute.ts';
import { publishTo, woken } from './looked-at.ts';
import type { Measure } from './measurement.ts';
import { type Memory, memoryOf, onlyChild } from './proc.ts';
import { median, quantile } from './quantile.ts';
import { RunningHost } from './running-host.ts';
import { megabytes, ms, ratio, table, verdict } from './table.ts';

/** p95 of a wake, in starts of a bare server that is an ES module, as our services are. */
const aim = 1.5;
const spareAimMs = 40;

/** One wake, by the wall clock that all processes of the machine share, in steps of a millisecond. */
interface Wake {
  /** From right before the publish request to right before the handler is called. */
  readonly totalMs: number;
  /** Until the host starts a process: request, commit, sync of the disk, dispatch. */
  readonly publishMs: number;
  /** Until the process listens. */
  readonly startMs: number;
  /** Until the handler is called: push, token, decoding, one read of the store. */
  readonly pushMs: number;
}

/** Publish to handler running in a sleeping process, beside the start of a bare server, in turn. */
export const measureWake: Measure = async ({ quick, progress }) => {
  const rounds = quick ? 10 : 50;
  const host = await RunningHost.start('--no-sample', '--idle', '200ms');
  const spared = await RunningHost.start('--no-sample', '--idle', '200ms', '--spare', '1');
  try {
    const dispute = await untilClosed(host, await openDispute(host));
    const sparedDispute = await untilClosed(spared, await openDispute(spared));
    await host.untilAllSleep();
    await spared.untilAllSleep();
    const wakes: Record<string, Wake[]> = Object.fromEntries(woken.map((service) => [service, []]));
    const withSpare: Wake[] = [];
    const bare: Record<BareKind, number[]> = { import: [], require: [] };
    const following = new AbortController();
    const waker = new Waker(host, dispute, following.signal);
    const sparedWaker = new Waker(spared, sparedDispute, following.signal);
    for (let round = 1; round <= rounds; round++) {
      for (const service of woken) {
        for (const kind of ['import', 'require'] as const) {
          const server = await startBareServer(kind);
          await server.stop();
          bare[kind].push(server.startMs);
        }
        wakes[service]!.push(await waker.wake(service));
        await host.untilAllSleep();
        withSpare.push(await sparedWaker.wake(service));
        await spared.untilAllSleep();
      }
      if (round % 10 === 0) progress(`${round} of ${rounds} rounds, bare start ${ms(median(bare.import))} so far`);
    }
    following.abort();
    const spareBytes = memoryOf(onlyChild(spared.pid));
    return {
      report: report(wakes, bare, withSpare, spareBytes),
      figures: { wakes, withSpare, spareBytes, bareStartMs: bare },
    };
  } finally {
    await Promise.all([host.stop(), spared.stop()]);
  }
};

class Waker {
  readonly #host: RunningHost;
  readonly #dispute: Dispute;
  readonly #entries: ReturnType<RunningHost['follow']>;
  #logEnd = 0;
  #count = 0;

  constructor(host: RunningHost, dispute: Dispute, signal: AbortSignal) {
    this.#host = host;
    this.#dispute = dispute;
    this.#entries = host.follow(dispute.id, signal);
  }

  async wake(service: string): Promise<Wake> {
    const id = `bench-${process.pid}-${++this.#count}`;
    this.#logEnd = this.#host.log(this.#logEnd).end;
    const publishedAt = Date.now();
    await publishTo(this.#host, service, this.#dispute, id);
    const handledAt = await this.#startOf(id);
    const { lines } = this.#host.log(this.#logEnd);
    const at = (moment: string) => {
      const line = lines.find((each) => each.moment === moment && each.service === service);
      if (!line) throw new Error(`"${service}" was awake already: the host's log has no ${moment} for this wake`);
      return Date.parse(line.time);
    };
    const [startingAt, wokenAt] = [at('instance.starting'), at('instance.woken')];
    return {
      totalMs: handledAt - publishedAt,
      publishMs: startingAt - publishedAt,
      startMs: wokenAt - startingAt,
      pushMs: handledAt - wokenAt,
    };
  }

  async #startOf(eventId: string): Promise<number> {
    for (;;) {
      const { done, value } = await this.#entries.next();
      if (done) throw new Error('the stream of the log has ended');
      if (value.kind === 'journal') throw new Error(`the handler failed: ${JSON.stringify(value.entry)}`);
      if (value.entry.cause.id === eventId) return value.entry.startedAt;
    }
  }
}

function report(
  wakes: Readonly<Record<string, readonly Wake[]>>,
  bare: Readonly<Record<BareKind, readonly number[]>>,
  withSpare: readonly Wake[],
  spare: Memory,
): string {
  const beside = (values: readonly number[]) => {
    const [p50, p95] = [median(values), quantile(values, 0.95)];
    const against = (kind: BareKind) => [ratio(p50 / median(bare[kind])), ratio(p95 / quantile(bare[kind], 0.95))];
    return [ms(p50), ms(p95), ...against('require'), ...against('import')];
  };
  const sparedP95 = quantile(
    withSpare.map(({ totalMs }) => totalMs),
    0.95,
  );
  const row = (name: string, of: readonly Wake[]) => {
    const totals = of.map(({ totalMs }) => totalMs);
    const part = (key: keyof Wake) => ms(median(of.map((wake) => wake[key])));
    return [
      name,
      ...beside(totals),
      verdict(quantile(totals, 0.95) / quantile(bare.import, 0.95), aim),
      part('publishMs'),
      part('startMs'),
      part('pushMs'),
    ];
  };
  return table(
    `wake: publish to handler running, ${Object.values(wakes)[0]!.length} wakes of each service`,
    [
      ['', 'p50', 'p95', 'p50 / require', 'p95', 'p50 / import', 'p95', 'aim 1.5 ×', 'publish', 'start', 'push'],
      ['bare server, require', ...beside(bare.require)],
      ['bare server, import', ...beside(bare.import)],
      ...Object.entries(wakes).map(([name, of]) => row(name, of)),
      row('all six', Object.values(wakes).flat()),
      row('all six, --spare 1', withSpare),
    ],
    [
      `--spare 1: p95 ${ms(sparedP95)}, aim ${spareAimMs} ms ${verdict(sparedP95, spareAimMs)}; the spare takes ${megabytes(spare.rssBytes)}, ${megabytes(spare.anonymousBytes)} of it its own.`,
      'require, import: how the bare server loads node:http; the aim is p95 against import, as services are ES modules.',
      'publish, start, push: medians of request to spawn, spawn to listening, listening to handler.',
    ],
  );
}
