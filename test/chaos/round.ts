import { problemsOfCase, problemsOfSystem } from './checks.ts';
import { carryOut, describeKill, planKills, type Target } from './kills.ts';
import { type Outcome, readOutcome } from './outcome.ts';
import { Outside } from './outside.ts';
import type { SampleCase, Temper } from './sample-cases.ts';
import { Seeded } from './seeded.ts';
import type { ServiceStatus, Victim } from './victim.ts';

export interface RoundResult {
  readonly problems: readonly string[];
  readonly kills: readonly Target[];
  /** How each case ended. */
  readonly ends: readonly string[];
}

interface OpenCase {
  readonly sample: SampleCase;
  readonly id: string;
}

const finalStatuses = ['closed', 'rejected', 'escalated', 'cancelled'];
/** With its backoffs: a push that died with its process comes again after 10 s, and may die again. */
const boundMs = 90_000;

/**
 * One round: cases are opened, processes are killed and the system started again, until every case has reached its end
 * and all is quiet. Then everything that must hold is looked at.
 */
export async function playRound(
  victim: Victim,
  temper: Temper,
  { seed, round, cases }: { readonly seed: string; readonly round: number; readonly cases: number },
  undisturbed: Promise<ReadonlyMap<string, Outcome>>,
  tell: (text: string) => void,
): Promise<RoundResult> {
  const random = new Seeded(seed, round);
  const samples = Array.from({ length: cases }, () => random.pick(temper.cases));
  const kills = planKills(random);
  tell(`${temper.name}: ${samples.map(({ name }) => name).join(', ')}; ${kills.map(describeKill).join(', then ')}`);

  const opening = samples.map(async (sample, index) => {
    // Before the first kill, or while they go on.
    await pause(index === 0 ? 0 : random.between(0, 1_500));
    const id = await openCase(victim, sample, `round-${round}-${index}`);
    if (sample.cancelled) await cancel(victim, id, random.between(0, 2_000));
    return { sample, id };
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
    problems: [...(await Promise.all(problems)).flat(), ...(await problemsOfSystem(victim))],
    kills: kills.map(({ target }) => target),
    ends: await Promise.all(opened.map(({ id }) => statusOf(victim, id))),
  };
}

/** What becomes of the cases of a temper where nothing dies. */
export async function playUndisturbed(victim: Victim, temper: Temper): Promise<ReadonlyMap<string, Outcome>> {
  const samples = temper.cases.filter(({ cancelled }) => !cancelled);
  const opening = samples.map(async (sample, index) => ({
    sample,
    id: await openCase(victim, sample, `undisturbed-${index}`),
  }));
  const opened = await Promise.all(opening);
  await ended(victim, opened);
  const outside = Outside.read(victim.data);
  const outcomes = opened.map(
    async ({ id, sample }) => [sample.name, (await readOutcome(victim, id, outside)).outcome] as const,
  );
  return new Map(await Promise.all(outcomes));
}

/** Asked with one key until it is answered: a host that dies over it may have opened the case or not. */
async function openCase(victim: Victim, sample: SampleCase, clientId: string): Promise<string> {
  const body = JSON.stringify({ ...sample.request, clientId });
  const headers = { 'content-type': 'application/json', 'idempotency-key': clientId };
  const response = await victim.ask('/api/workflows/create', { method: 'POST', headers, body });
  if (response.status !== 201) throw new Error(`${sample.name} was refused: ${await response.text()}`);
  return ((await response.json()) as { workflowId: string }).workflowId;
}

async function cancel(victim: Victim, id: string, afterMs: number): Promise<void> {
  await pause(afterMs);
  const body = JSON.stringify({ reason: 'the client thought better of it' });
  const headers = { 'content-type': 'application/json', 'idempotency-key': `cancel-${id}` };
  const { status } = await victim.ask(`/api/workflows/${id}/cancel`, { method: 'POST', headers, body });
  // 409: it was over before.
  if (![201, 409].includes(status)) throw new Error(`the cancel of ${id} answered ${status}`);
}

async function statusOf(victim: Victim, id: string): Promise<string> {
  return (await victim.get<{ status: string }>(`/api/workflows/${id}`)).status;
}

/** Each look costs the systems work, and there are several. */
const lookEveryMs = 150;

/** Until each case is over, nothing waits anywhere, and no process is left of the dead. */
async function ended(victim: Victim, opened: readonly OpenCase[]): Promise<void> {
  for (const { id, sample } of opened) {
    const over = async () => {
      await pause(lookEveryMs);
      return finalStatuses.includes(await statusOf(victim, id));
    };
    await victim.until(`the end of ${id} (${sample.name})`, over, boundMs).catch(async (error: Error) => {
      type Trace = { rows: { topic: string; to: string; status: string; errors: string[] }[] };
      const { rows } = await victim.get<Trace>(`/api/workflows/${id}/trace`);
      const open = rows.filter(({ status }) => status !== 'done' && status !== 'cancelled');
      throw new Error(`${error.message}; ${JSON.stringify(open)}`);
    });
  }
  await victim.until('quiet: no backlog, no timer, no answer to come', () => isQuiet(victim, opened), boundMs);
  const alone = async () => victim.services().length === (await instances(victim));
  await victim.until('the exit of what killed hosts left', alone, 20_000);
}

async function isQuiet(victim: Victim, opened: readonly OpenCase[]): Promise<boolean> {
  await pause(lookEveryMs);
  type Topics = { topics: { subscriptions: { backlog: number }[] }[] };
  const { topics } = await victim.get<Topics>('/api/topics');
  if (topics.some(({ subscriptions }) => subscriptions.some(({ backlog }) => backlog > 0))) return false;
  const { pendingAnswers } = await victim.get<{ pendingAnswers: unknown[] }>('/sandbox/api/records');
  if (pendingAnswers.length > 0) return false;
  const traces = opened.map(({ id }) => victim.get<{ pendingTimers: unknown[] }>(`/api/workflows/${id}/trace`));
  return (await Promise.all(traces)).every(({ pendingTimers }) => pendingTimers.length === 0);
}

async function instances(victim: Victim): Promise<number> {
  const { services } = await victim.get<{ services: ServiceStatus[] }>('/api/services');
  return services.reduce((sum, each) => sum + each.instances + (each.state === 'waking' ? 1 : 0), 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
