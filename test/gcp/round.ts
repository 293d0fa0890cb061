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
  /** Timers of which nobody but a sweep at the end had heard. */
  readonly sweptTimers: number;
}

export interface RoundOptions {
  readonly seed: string;
  readonly round: number;
  /** How many are opened. */
  readonly cases: number;
  /** Sweeps come so often. Undefined: none comes before all has ended without. */
  readonly sweepEveryMs: number | undefined;
}

/** A push that died with its instance comes again after 10 s, and may die again. */
const boundMs = 120_000;

/**
 * One round: cases are opened, instances are killed, or asked to stop in the middle of their work, until every case has reached
 * its end and all is quiet. Then everything that must hold is looked at.
 *
 * A sweep finds whatever was forgotten, so one that comes every few seconds hides that it was. In a round without them all must
 * end by pushes, tasks and repeated requests alone.
 */
export async function playRound(
  system: GoogleSystem,
  temper: Temper,
  { seed, round, cases: count, sweepEveryMs }: RoundOptions,
  undisturbed: ReadonlyMap<string, Outcome>,
  tell: (text: string) => void,
): Promise<RoundResult> {
  const random = new Seeded(seed, round);
  if (sweepEveryMs !== undefined) system.startSweeps(sweepEveryMs);
  const samples = Array.from({ length: count }, () => random.pick(temper.cases));
  const kills = Array.from({ length: random.between(2, 4) }, () => ({
    target: random.pick(targets),
    signal: random.pick(['SIGKILL', 'SIGKILL', 'SIGTERM'] as const),
    afterMs: random.between(200, 2_500),
  }));
  const told = kills.map(({ target, signal, afterMs }) => `${signal} ${target} after ${afterMs} ms`);
  const net = sweepEveryMs === undefined ? ', no sweeps' : '';
  tell(`${system.wire}${net}: ${samples.map(({ name }) => name).join(', ')}; ${told.join(', then ')}`);

  const opening = samples.map(async (sample, index) => {
    await pause(index === 0 ? 0 : random.between(0, 1_500));
    const opened = await openCase(system, sample, `round-${round}-${index}`);
    if (sample.cancelled) {
      await pause(random.between(0, 2_000));
      await cancel(system, opened.id);
    }
    return opened;
  });
  // Looked at after the last kill: another lane may end the run before.
  const opens = Promise.all(opening);
  opens.catch(() => {});
  const counts = { instance: 0, service: 0, everything: 0 };
  for (const { target, signal, afterMs } of kills) {
    await pause(afterMs);
    const doomed = doomedBy(target, system.cloudRun.instances(), random);
    for (const instance of doomed) instance.end(signal);
    if (doomed.length > 0) counts[target]++;
  }
  const opened = await opens;
  const stalled = sweepEveryMs === undefined ? await endWithoutSweeps(system, opened) : { problems: [], timers: 0 };
  if (sweepEveryMs !== undefined) await over(system, opened);
  system.stopSweeps();
  const problems = opened.map(({ id, sample }) => problemsOfCase(system, id, sample, undisturbed));
  return {
    problems: [
      ...stalled.problems,
      ...(await Promise.all(problems)).flat(),
      ...(await problemsOfSystem(system)),
      ...(await problemsOfEngines(system)),
    ],
    kills: counts,
    ends: await Promise.all(opened.map(({ id }) => statusOf(system, id))),
    sweptTimers: stalled.timers,
  };
}

/**
 * Waits for the end, and sweeps once. What only that sets going again is told: a timer, since a process may die between its commit
 * and the request for a task (`docs/semantics.md`), is counted; anything else is a problem.
 */
async function endWithoutSweeps(system: GoogleSystem, opened: readonly OpenCase[]) {
  let stall: Error | undefined;
  await over(system, opened).catch((error: Error) => {
    stall = error;
  });
  const unsent = stall ? await system.documents('outbox') : [];
  const timers = await system.until('an answer to the sweep', async () => (await system.sweep()) ?? false, boundMs);
  if (stall) await over(system, opened);
  const [what] = (stall?.message ?? '').split('; the services said last:');
  const problems =
    stall && (unsent.length > 0 || timers === 0)
      ? [`only a sweep went on with it (${timers} timers, ${unsent.length} messages of the outbox): ${what}`]
      : [];
  return { problems, timers };
}

/** Until each case is over and nothing of it waits anywhere. */
function over(system: GoogleSystem, opened: readonly OpenCase[]): Promise<void> {
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
