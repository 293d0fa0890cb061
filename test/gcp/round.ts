import { cancel, ended, type OpenCase, openCase, pause, rowsOf, statusOf } from '../chaos/cases.ts';
import { problemsOfCase, problemsOfSystem } from '../chaos/checks.ts';
import type { Outcome } from '../chaos/outcome.ts';
import type { Temper } from '../chaos/sample-cases.ts';
import { Seeded } from '../chaos/seeded.ts';
import { problemsOfEngines } from './checks.ts';
import type { Instance } from './cloud-run.ts';
import type { GoogleSystem } from './google-system.ts';

/** Who dies: one instance, all of one service, or all of them. */
export const targets = ['instance', 'service', 'everything'] as const;
export type Target = (typeof targets)[number];

export interface RoundResult {
  readonly problems: readonly string[];
  readonly kills: Readonly<Record<Target, number>>;
  /** How each case ended. */
  readonly ends: readonly string[];
}

/** A push that died with its instance comes again after 10 s, and may die again. */
const boundMs = 120_000;

/**
 * One round: cases are opened, instances are killed, or asked to stop in the middle of their work, until every case has reached
 * its end and all is quiet. Then everything that must hold is looked at.
 */
export async function playRound(
  system: GoogleSystem,
  temper: Temper,
  { seed, round, cases: count }: { readonly seed: string; readonly round: number; readonly cases: number },
  undisturbed: ReadonlyMap<string, Outcome>,
  tell: (text: string) => void,
): Promise<RoundResult> {
  const random = new Seeded(seed, round);
  const samples = Array.from({ length: count }, () => random.pick(temper.cases));
  const kills = Array.from({ length: random.between(2, 4) }, () => ({
    target: random.pick(targets),
    signal: random.pick(['SIGKILL', 'SIGKILL', 'SIGTERM'] as const),
    afterMs: random.between(200, 2_500),
  }));
  const told = kills.map(({ target, signal, afterMs }) => `${signal} ${target} after ${afterMs} ms`);
  tell(`${system.wire}: ${samples.map(({ name }) => name).join(', ')}; ${told.join(', then ')}`);

  const opening = samples.map(async (sample, index) => {
    await pause(index === 0 ? 0 : random.between(0, 1_500));
    const opened = await openCase(system, sample, `round-${round}-${index}`);
    if (sample.cancelled) {
      await pause(random.between(0, 2_000));
      await cancel(system, opened.id);
    }
    return opened;
  });
  const counts = { instance: 0, service: 0, everything: 0 };
  for (const { target, signal, afterMs } of kills) {
    await pause(afterMs);
    const doomed = doomedBy(target, system.cloudRun.instances(), random);
    for (const instance of doomed) instance.end(signal);
    if (doomed.length > 0) counts[target]++;
  }
  const opened = await Promise.all(opening);
  await over(system, opened);
  const problems = opened.map(({ id, sample }) => problemsOfCase(system, id, sample, undisturbed));
  return {
    problems: [
      ...(await Promise.all(problems)).flat(),
      ...(await problemsOfSystem(system)),
      ...(await problemsOfEngines(system)),
    ],
    kills: counts,
    ends: await Promise.all(opened.map(({ id }) => statusOf(system, id))),
  };
}

/** Until each case is over and nothing of it waits anywhere. */
export function over(system: GoogleSystem, opened: readonly OpenCase[]): Promise<void> {
  const isQuiet = async () => {
    const rows = await Promise.all(opened.map(({ id }) => rowsOf(system, id)));
    const done = rows.flat().every(({ status }) => status === 'done' || status === 'cancelled');
    return done && (await system.isQuiet());
  };
  return ended(system, opened, isQuiet, boundMs);
}

function doomedBy(target: Target, living: readonly Instance[], random: Seeded): readonly Instance[] {
  if (living.length === 0 || target === 'everything') return living;
  const one = random.pick(living);
  return target === 'instance' ? [one] : living.filter(({ service }) => service === one.service);
}
