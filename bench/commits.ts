import { collection, difference, on, type StateStore, service, topic } from '@dormouse/core';
import * as z from 'zod';
import guide, { type Journey } from './journey/guide.ts';
import { stopReached } from './journey/system.ts';
import { note, stops } from './journey-client.ts';
import { type Grown, growLog } from './log-entries.ts';
import type { Measure } from './measurement.ts';
import { median, quantile } from './quantile.ts';
import { StepRunner, workflowRef } from './step-runner.ts';
import { ms, ratio, table, verdict, whole } from './table.ts';

const concurrent = [1, 10, 100];
const parallel = 30;
const queries = 2_000;
const queryAimMs = 10;

/** What the service sees of the store. The log is most of what a chain is for, so it is left out by itself and with the patches. */
const variants = {
  'chain and patches': (store: StateStore) => store,
  'chain, no patches': (store: StateStore) =>
    changed(store, (unit) => unit.entries.map((entry) => ({ ...entry, changes: [] }))),
  'no log': (store: StateStore) => changed(store, () => []),
} as const;

type Unit = Parameters<StateStore['commit']>[0];

interface Rate {
  readonly perSecond: number;
  readonly p50Ms: number;
  /** Of the thread that commits. */
  readonly cpuMs: number;
}

interface Parallel {
  readonly perSecond: number;
  readonly p50Ms: number;
  /** Runs of the handler: more than one where another step was in its way. */
  readonly runsAStep: number;
}

/** What a step's commit costs: alone and beside others, with its log and without, and what is read of a log of millions. */
export const measureCommits: Measure = async ({ quick, progress }) => {
  const rounds = quick ? 1 : 5;
  const forMs = quick ? 1_000 : 3_000;
  const rates = new Map<string, Rate[]>();
  for (let round = 1; round <= rounds; round++) {
    for (const [name, through] of Object.entries(variants)) {
      for (const count of concurrent) {
        const key = `${name}, ${count}`;
        rates.set(key, [...(rates.get(key) ?? []), await journeysOf(count, forMs, through)]);
      }
      progress(`round ${round} of ${rounds}: ${name}`);
    }
  }
  const children = { one: await parallelSteps(1, forMs), many: await parallelSteps(parallel, forMs) };
  progress('child documents');
  const entries = quick ? 100_000 : 10_000_000;
  const log = await queryLog(entries, progress);
  const patchUs = patchTime();
  const figures = { rates: Object.fromEntries(rates), children, entries, log, patchUs };
  return { report: [rateReport(rates, patchUs), childReport(children), logReport(entries, log)].join('\n\n'), figures };
};

/** Journeys of ten steps, each workflow one step at a time, so many at once. */
async function journeysOf(count: number, forMs: number, through: (store: StateStore) => StateStore): Promise<Rate> {
  const runner = await StepRunner.open(guide, [stopReached], through);
  const times: number[] = [];
  let journeys = 0;
  const work = async (durationMs: number) => {
    times.length = 0;
    const startedAt = performance.now();
    const cpu = process.threadCpuUsage();
    const travel = async () => {
      while (performance.now() - startedAt < durationMs) {
        const id = `JN-${++journeys}`;
        for (let stop = 1; stop <= stops; stop++) {
          const from = performance.now();
          await runner.run('guide.stop.reached', stopReached, id, { stop, note });
          times.push(performance.now() - from);
        }
      }
    };
    await Promise.all(Array.from({ length: count }, travel));
    const { user, system } = process.threadCpuUsage(cpu);
    return {
      perSecond: (times.length / (performance.now() - startedAt)) * 1000,
      p50Ms: median(times),
      cpuMs: (user + system) / 1000 / times.length,
    };
  };
  try {
    await work(forMs / 3);
    return await work(forMs);
  } finally {
    await runner.stop();
  }
}

/** Waves of steps that each change a document of their own, below so many workflows. */
async function parallelSteps(workflowCount: number, forMs: number): Promise<Parallel> {
  const letters = collection<{ times: number }>('letters');
  const letterDue = topic('letter.due', { schema: z.object({ letter: z.string() }) });
  let runs = 0;
  const clerk = service('clerk', [
    on(letterDue, async ({ data }, step) => {
      runs++;
      const letter = await step.document(letters, data.letter);
      if (letter.exists) letter.update({ times: letter.data.times + 1 });
      else letter.create({ times: 1 });
    }),
  ]);
  const runner = await StepRunner.open(clerk, [letterDue]);
  const waves: number[] = [];
  try {
    const startedAt = performance.now();
    while (performance.now() - startedAt < forMs) {
      const from = performance.now();
      await Promise.all(
        Array.from({ length: parallel }, (_, n) =>
          runner.run('clerk.letter.due', letterDue, `CA-${n % workflowCount}`, { letter: `L${n}` }),
        ),
      );
      waves.push(performance.now() - from);
    }
    const steps = waves.length * parallel;
    const perSecond = (steps / (performance.now() - startedAt)) * 1000;
    return { perSecond, p50Ms: median(waves), runsAStep: runs / steps };
  } finally {
    await runner.stop();
  }
}

async function queryLog(
  entries: number,
  progress: (text: string) => void,
): Promise<Grown & { readonly queryMs: number[] }> {
  const runner = await StepRunner.open(guide, [stopReached]);
  const id = 'JN-1';
  for (let stop = 1; stop <= stops; stop++) await runner.run('guide.stop.reached', stopReached, id, { stop, note });
  await runner.halt();
  try {
    const grown = growLog(runner.file, workflowRef(id), entries, progress);
    const again = StepRunner.reopen(runner, guide);
    const queryMs: number[] = [];
    for (let n = 0; n < queries; n++) {
      const workflow = workflowRef(grown.ids[Math.floor((n + 0.5) * (grown.ids.length / queries))]!);
      const from = performance.now();
      const found = await Array.fromAsync(again.store.log({ workflow }));
      queryMs.push(performance.now() - from);
      if (found.length !== stops) throw new Error(`${workflow} has ${found.length} entries, not ${stops}`);
    }
    await again.halt();
    return { ...grown, ids: [], queryMs };
  } finally {
    runner.remove();
  }
}

/** Of the fifth step's patch alone, in microseconds. */
function patchTime(): number {
  const notes = { 1: note, 2: note, 3: note, 4: note };
  const before: Journey = { stop: 4, notes };
  const after: Journey = { stop: 5, notes: { ...notes, 5: note } };
  const make = (times: number) => {
    const startedAt = performance.now();
    for (let n = 0; n < times; n++) JSON.stringify(difference({ ...before }, { ...after }));
    return ((performance.now() - startedAt) / times) * 1000;
  };
  make(20_000);
  return make(20_000);
}

function rateReport(rates: ReadonlyMap<string, readonly Rate[]>, patchUs: number): string {
  const of = (key: string, each: (rate: Rate) => number) => median(rates.get(key)!.map(each));
  const rows = Object.keys(variants).flatMap((name) =>
    concurrent.map((count) => {
      const key = `${name}, ${count}`;
      const rate = of(key, ({ perSecond }) => perSecond);
      return [
        `${name}, ${count} at once`,
        whole(rate),
        ratio(rate / of(`no log, ${count}`, ({ perSecond }) => perSecond)),
        ms(of(key, ({ p50Ms }) => p50Ms)),
        `${whole(of(key, ({ cpuMs }) => cpuMs) * 1000)} µs`,
      ];
    }),
  );
  return table(
    'commits: steps of a journey, from the delivery to the durable commit; medians',
    [['', 'steps/s', 'beside no log', 'p50', 'CPU a step'], ...rows],
    [
      'A step reads its inbox and its document, checks both, writes both, and publishes; each answer waits for a sync.',
      `To make a patch alone: ${patchUs.toFixed(1)} µs, which is in all of them.`,
    ],
  );
}

function childReport({ one, many }: { readonly one: Parallel; readonly many: Parallel }): string {
  const row = (name: string, { perSecond, p50Ms, runsAStep }: Parallel) => [
    name,
    whole(perSecond),
    ms(p50Ms),
    runsAStep.toFixed(2),
  ];
  return table(`commits: ${parallel} steps at once, each of a child document of its own`, [
    ['', 'steps/s', 'all of them, p50', 'runs a step'],
    row('of one workflow', one),
    row(`of ${parallel} workflows`, many),
  ]);
}

function logReport(
  entries: number,
  { queryMs, bytesAnEntry, jsonBytesAnEntry }: Grown & { readonly queryMs: number[] },
): string {
  const p95 = quantile(queryMs, 0.95);
  return table(
    `commits: the log of one workflow among ${whole(entries)} entries, ${whole(queries)} workflows once each`,
    [
      ['p50', 'p95', `aim ${queryAimMs} ms`, 'most', 'growth an entry', 'its JSON'],
      [
        ms(quantile(queryMs, 0.5)),
        ms(p95),
        verdict(p95, queryAimMs),
        ms(quantile(queryMs, 1)),
        `${whole(bytesAnEntry)} bytes`,
        `${whole(jsonBytesAnEntry)} bytes`,
      ],
    ],
    [
      `Written straight into the tables, copies of a journey of ${stops} entries, those of a thousand workflows in turn.`,
    ],
  );
}

function changed(store: StateStore, entriesOf: (unit: Unit) => Unit['entries']): StateStore {
  return {
    get: (refs: readonly string[]) => store.get(refs),
    commit: (unit: Unit) => store.commit({ ...unit, entries: entriesOf(unit) }),
  } as StateStore;
}
