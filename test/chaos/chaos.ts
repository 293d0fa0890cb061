import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Target, targets } from './kills.ts';
import type { Outcome } from './outcome.ts';
import { type EffectKind, effectKinds, Outside } from './outside.ts';
import { playRound, playUndisturbed } from './round.ts';
import { type Temper, tempers } from './sample-cases.ts';
import { Victim } from './victim.ts';

export interface ChaosOptions {
  readonly seed: string;
  /** How many rounds are played, and the number of the first. A round depends on nothing but seed and number. */
  readonly rounds: number;
  readonly first: number;
  /** Cases opened in each round. */
  readonly cases: number;
  /** Where data directories are made. They are left there. */
  readonly folder: string;
  readonly tell: (text: string) => void;
  /** Kills everything and ends the run. */
  readonly signal: AbortSignal;
}

export interface ChaosReport {
  readonly rounds: number;
  readonly kills: Readonly<Record<Target, number>>;
  /** Cases by their end. */
  readonly cases: Readonly<Record<string, number>>;
  readonly effects: Readonly<Record<EffectKind, number>>;
  /** Asked for again under the same key. */
  readonly repeats: Readonly<Record<EffectKind, number>>;
  readonly seconds: number;
  readonly failures: readonly { readonly round: number; readonly problems: readonly string[] }[];
}

/**
 * Plays rounds on several systems at a time, since a round waits more than it works. Each system has its temper, and lives
 * on one data directory through all its rounds.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const startedAt = performance.now();
  const failed = new AbortController();
  const gone = AbortSignal.any([options.signal, failed.signal]);
  const numbers = Array.from({ length: options.rounds }, (_, index) => options.first + index);
  const undisturbed = new Map<Temper, Promise<ReadonlyMap<string, Outcome>>>();
  const report = {
    rounds: 0,
    kills: zeros(targets),
    cases: {} as Record<string, number>,
    effects: zeros(effectKinds),
    repeats: zeros(effectKinds),
    failures: [] as { round: number; problems: readonly string[] }[],
  };

  const play = async (temper: Temper, system: number) => {
    const rounds = numbers.filter((round) => round % tempers.length === system);
    if (rounds.length === 0) return;
    const folder = join(options.folder, `system-${system}`);
    mkdirSync(folder, { recursive: true });
    const victim = new Victim(folder, temper.environment, gone);
    let round = rounds[0]!;
    const fail = (problems: readonly string[]) => {
      report.failures.push({ round, problems });
      failed.abort();
    };
    try {
      victim.launch('10s');
      await victim.up();
      // By the first system of each temper; the others go on meanwhile.
      const first = !undisturbed.has(temper);
      if (first) undisturbed.set(temper, playUndisturbed(victim, temper));
      const outcomes = undisturbed.get(temper)!;
      if (first) await outcomes;
      for (round of rounds) {
        const beganAt = performance.now();
        const tell = (text: string) => options.tell(`round ${round}: ${text}`);
        const { problems, kills, ends } = await playRound(victim, temper, { ...options, round }, outcomes, tell);
        report.rounds++;
        for (const target of kills) report.kills[target]++;
        for (const end of ends) report.cases[end] = (report.cases[end] ?? 0) + 1;
        const seconds = ((performance.now() - beganAt) / 1000).toFixed(1);
        tell(`${problems.length === 0 ? 'held' : 'BROKEN'} after ${seconds} s`);
        if (problems.length > 0) return fail(problems);
      }
      const outside = Outside.read(victim.data).all();
      for (const kind of effectKinds) {
        report.effects[kind] += outside.effects[kind];
        report.repeats[kind] += outside.repeats[kind];
      }
      const code = await victim.stop();
      const left = victim.family.members().map(({ command }) => command);
      if (code !== 0 || left.length > 0)
        fail([`it stopped with exit code ${code}; left: ${left.join(', ') || 'nothing'}`]);
    } catch (error) {
      if (!gone.aborted) fail([(error as Error).message]);
    } finally {
      victim.destroy();
    }
  };
  await Promise.all(tempers.map(play));
  return { ...report, seconds: (performance.now() - startedAt) / 1000 };
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}
