import * as cases from './cases.ts';
import { cancel, type OpenCase, openCase, pause, statusOf } from './cases.ts';
import { problemsOfCase, problemsOfDatabase, problemsOfSystem } from './checks.ts';
import { carryOut, describeKill, planKills, type Target } from './kills.ts';
import type { Outcome } from './outcome.ts';
import type { Temper } from './sample-cases.ts';
import { Seeded } from './seeded.ts';
import type { ServiceStatus, Victim } from './victim.ts';

export interface RoundResult {
  readonly problems: readonly string[];
  readonly kills: readonly Target[];
  /** How each case ended. */
  readonly ends: readonly string[];
}

/** With its backoffs: a push that died with its process comes again after 10 s, and may die again. */
const boundMs = 90_000;

/**
 * One round: cases are opened, processes are killed and the system started again, until every case has reached its end
 * and all is quiet. Then everything that must hold is looked at.
 */
export async function playRound(
  victim: Victim,
  temper: Temper,
  { seed, round, cases: count }: { readonly seed: string; readonly round: number; readonly cases: number },
  undisturbed: Promise<ReadonlyMap<string, Outcome>>,
  tell: (text: string) => void,
): Promise<RoundResult> {
  const random = new Seeded(seed, round);
  const samples = Array.from({ length: count }, () => random.pick(temper.cases));
  const kills = planKills(random);
  tell(`${temper.name}: ${samples.map(({ name }) => name).join(', ')}; ${kills.map(describeKill).join(', then ')}`);

  const opening = samples.map(async (sample, index) => {
    // Before the first kill, or while they go on.
    await pause(index === 0 ? 0 : random.between(0, 1_500));
    const opened = await openCase(victim, sample, `round-${round}-${index}`);
    if (sample.cancelled) {
      await pause(random.between(0, 2_000));
      await cancel(victim, opened.id);
    }
    return opened;
  });
  for (const [index, kill] of kills.entries()) {
    if (!(await carryOut(kill, victim, random))) continue;
    victim.launch(random.pick(['200ms', '2s', '10s']));
    if (kills[index + 1]?.moment.kind !== 'starting') await victim.up();
  }
  await victim.up();
  const opened = await Promise.all(opening);
  await ended(victim, opened);
  const outcomes = await undisturbed;
  const problems = opened.map(({ id, sample }) => problemsOfCase(victim, id, sample, outcomes));
  return {
    problems: [
      ...(await Promise.all(problems)).flat(),
      ...(await problemsOfSystem(victim)),
      ...problemsOfDatabase(victim.data),
    ],
    kills: kills.map(({ target }) => target),
    ends: await Promise.all(opened.map(({ id }) => statusOf(victim, id))),
  };
}

/** What becomes of the cases of a temper where nothing dies. */
export function playUndisturbed(victim: Victim, temper: Temper): Promise<ReadonlyMap<string, Outcome>> {
  return cases.playUndisturbed(victim, temper, (opened) => ended(victim, opened));
}

/** Until each case is over, nothing waits anywhere, and no process is left of the dead. */
async function ended(victim: Victim, opened: readonly OpenCase[]): Promise<void> {
  await cases.ended(victim, opened, () => hasNoBacklog(victim), boundMs);
  const alone = async () => victim.services().length === (await instances(victim));
  await victim.until('the exit of what killed hosts left', alone, 20_000);
}

async function hasNoBacklog(victim: Victim): Promise<boolean> {
  type Topics = { topics: { subscriptions: { backlog: number }[] }[] };
  const { topics } = await victim.get<Topics>('/api/topics');
  return topics.every(({ subscriptions }) => subscriptions.every(({ backlog }) => backlog === 0));
}

async function instances(victim: Victim): Promise<number> {
  const { services } = await victim.get<{ services: ServiceStatus[] }>('/api/services');
  return services.reduce((sum, each) => sum + each.instances + (each.state === 'waking' ? 1 : 0), 0);
}
