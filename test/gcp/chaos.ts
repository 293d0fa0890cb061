import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Outcome } from '../chaos/outcome.ts';
import { playUndisturbed } from '../chaos/round.ts';
import { type Temper, tempers } from '../chaos/sample-cases.ts';
import { Victim } from '../chaos/victim.ts';
import type { Engines } from './engines.ts';
import { GoogleSystem, type GoogleSystemOptions, type Wire } from './google-system.ts';
import { playRound, type Target, targets } from './round.ts';

export interface GoogleChaosOptions extends Pick<GoogleSystemOptions, 'manifest' | 'images'> {
  readonly engines: Engines;
  readonly seed: string;
  /** How many rounds are played, and the number of the first. A round depends on nothing but seed and number. */
  readonly rounds: number;
  readonly first: number;
  /** Cases opened in each round. */
  readonly cases: number;
  readonly folder: string;
  readonly tell: (text: string) => void;
  /** Ends the run. */
  readonly signal: AbortSignal;
}

export interface GoogleChaosReport {
  readonly rounds: number;
  readonly kills: Readonly<Record<Target, number>>;
  /** Cases by their end. */
  readonly cases: Readonly<Record<string, number>>;
  /** Processes started. */
  readonly wakes: number;
  /** Rounds in which no sweep came before the end, and the timers that only that one found. */
  readonly unswept: { readonly rounds: number; readonly timers: number };
  readonly seconds: number;
  readonly failures: readonly { readonly round: number; readonly problems: readonly string[] }[];
}

const [patient, hasty] = tempers as [Temper, Temper];

/** Several systems at a time, since a round waits more than it works: half of them on Google's emulator, half on our broker. */
const lanes: readonly { readonly wire: Wire; readonly temper: Temper }[] = [patient, hasty].flatMap((temper) => [
  { wire: 'emulator', temper },
  { wire: 'broker', temper },
]);

export async function runGoogleChaos(options: GoogleChaosOptions): Promise<GoogleChaosReport> {
  const startedAt = performance.now();
  const failed = new AbortController();
  const gone = AbortSignal.any([options.signal, failed.signal]);
  const report = {
    rounds: 0,
    kills: Object.fromEntries(targets.map((target) => [target, 0])) as Record<Target, number>,
    cases: {} as Record<string, number>,
    wakes: 0,
    unswept: { rounds: 0, timers: 0 },
    failures: [] as { round: number; problems: readonly string[] }[],
  };
  const outcomes = new Map<Temper, ReturnType<typeof localOutcomes>>();
  const outcomesOf = (temper: Temper) => {
    const known = outcomes.get(temper) ?? localOutcomes(temper, join(options.folder, `local-${temper.name}`), gone);
    outcomes.set(temper, known);
    return known;
  };
  const numbers = Array.from({ length: options.rounds }, (_, index) => options.first + index);
  const play = async ({ wire, temper }: (typeof lanes)[number], lane: number) => {
    const rounds = numbers.filter((round) => round % lanes.length === lane);
    let round = rounds[0] ?? 0;
    const fail = (problems: readonly string[]) => {
      report.failures.push({ round, problems });
      failed.abort();
    };
    try {
      const wanted = await outcomesOf(temper);
      await using system = await GoogleSystem.start({
        ...options,
        wire,
        idleMs: 3_000,
        environment: temper.environment,
        gone,
      });
      for (round of rounds) {
        const beganAt = performance.now();
        const tell = (text: string) => options.tell(`round ${round}: ${text}`);
        // Every second one of a lane.
        const isSwept = Math.floor(round / lanes.length) % 2 === 0;
        const sweepEveryMs = isSwept ? 5_000 : undefined;
        const played = await playRound(system, temper, { ...options, round, sweepEveryMs }, wanted, tell);
        const { problems, kills, ends, sweptTimers } = played;
        report.rounds++;
        if (!isSwept) report.unswept.rounds++;
        report.unswept.timers += sweptTimers;
        for (const target of targets) report.kills[target] += kills[target];
        for (const end of ends) report.cases[end] = (report.cases[end] ?? 0) + 1;
        tell(
          `${problems.length === 0 ? 'held' : 'BROKEN'} after ${((performance.now() - beganAt) / 1000).toFixed(1)} s`,
        );
        if (problems.length > 0) return fail(problems);
      }
      await system.asleep();
      report.wakes += system.cloudRun.wakes;
    } catch (error) {
      if (!gone.aborted) fail([(error as Error).message]);
    }
  };
  await Promise.all(lanes.map(play));
  return { ...report, seconds: (performance.now() - startedAt) / 1000 };
}

/** What becomes of each case on one machine where nothing dies: the same must become of it here. */
export async function localOutcomes(
  temper: Temper,
  folder: string,
  gone: AbortSignal,
): Promise<ReadonlyMap<string, Outcome>> {
  mkdirSync(folder, { recursive: true });
  const victim = new Victim(folder, temper.environment, gone);
  try {
    victim.launch('10s');
    await victim.up();
    const outcomes = await playUndisturbed(victim, temper);
    await victim.stop();
    return outcomes;
  } finally {
    victim.destroy();
  }
}

/** The figures, one a line. */
export function tableOf({ rounds, kills, cases, wakes, unswept, seconds }: GoogleChaosReport): string {
  const parts = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([kind, count]) => `${kind} ${count}`)
      .join(', ');
  return [
    `rounds   ${rounds}`,
    `kills    ${parts(kills)}`,
    `cases    ${parts(cases)}`,
    `wakes    ${wakes}`,
    `unswept  ${unswept.rounds} rounds, in which only a sweep at the end found ${unswept.timers} timers`,
    `seconds  ${seconds.toFixed(1)}`,
  ].join('\n');
}

/** What is broken, and how to see it again. */
export function failuresOf({ failures }: GoogleChaosReport, seed: string, cases: number): string {
  return failures
    .map(({ round, problems }) =>
      [
        `round ${round} is broken:`,
        ...problems.map((problem) => `  ${problem}`),
        `again: npm run chaos:gcp -- --seed ${seed} --first ${round} --rounds 1 --cases ${cases}`,
      ].join('\n'),
    )
    .join('\n');
}
