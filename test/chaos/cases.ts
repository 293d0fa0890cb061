import { type Outcome, readOutcome } from './outcome.ts';
import { Outside } from './outside.ts';
import type { SampleCase, Temper } from './sample-cases.ts';
import type { Subject } from './subject.ts';

export interface OpenCase {
  readonly sample: SampleCase;
  readonly id: string;
}

const finalStatuses = ['closed', 'rejected', 'escalated', 'cancelled'];
/** Each look costs the systems work, and there are several. */
const lookEveryMs = 150;

/** Asked with one key until it is answered: a host that dies over it may have opened the case or not. */
export async function openCase(subject: Subject, sample: SampleCase, clientId: string): Promise<OpenCase> {
  const body = JSON.stringify({ ...sample.request, clientId });
  const headers = { 'content-type': 'application/json', 'idempotency-key': clientId };
  const response = await subject.ask('/api/workflows/create', { method: 'POST', headers, body });
  if (response.status !== 201) throw new Error(`${sample.name} was refused: ${await response.text()}`);
  return { sample, id: ((await response.json()) as { workflowId: string }).workflowId };
}

export async function cancel(subject: Subject, id: string): Promise<void> {
  const body = JSON.stringify({ reason: 'the client thought better of it' });
  const headers = { 'content-type': 'application/json', 'idempotency-key': `cancel-${id}` };
  const { status } = await subject.ask(`/api/workflows/${id}/cancel`, { method: 'POST', headers, body });
  // 409: it was over before.
  if (![201, 409].includes(status)) throw new Error(`the cancel of ${id} answered ${status}`);
}

export async function statusOf(subject: Subject, id: string): Promise<string> {
  return (await subject.get<{ status: string }>(`/api/workflows/${id}`)).status;
}

/** Until each case is over and nothing of it waits, by what a system tells itself and by what it tells of its own. */
export async function ended(
  subject: Subject,
  opened: readonly OpenCase[],
  isQuiet: () => Promise<boolean>,
  boundMs: number,
): Promise<void> {
  for (const { id, sample } of opened) {
    const over = async () => {
      await pause(lookEveryMs);
      return finalStatuses.includes(await statusOf(subject, id));
    };
    await subject.until(`the end of ${id} (${sample.name})`, over, boundMs).catch(async (error: Error) => {
      const open = (await rowsOf(subject, id)).filter(({ status }) => status !== 'done' && status !== 'cancelled');
      throw new Error(`${error.message}; ${JSON.stringify(open)}`);
    });
  }
  const quiet = async () => {
    await pause(lookEveryMs);
    const { pendingAnswers } = await subject.get<{ pendingAnswers: unknown[] }>('/sandbox/api/records');
    if (pendingAnswers.length > 0 || !(await isQuiet())) return false;
    const timers = opened.map(({ id }) => subject.get<{ pendingTimers: unknown[] }>(`/api/workflows/${id}/trace`));
    return (await Promise.all(timers)).every(({ pendingTimers }) => pendingTimers.length === 0);
  };
  await subject.until('quiet: no message, no timer, no answer to come', quiet, boundMs);
}

export interface JourneyRow {
  readonly topic: string;
  readonly to: string;
  readonly status: string;
  readonly errors: readonly string[];
}

export async function rowsOf(subject: Subject, id: string): Promise<readonly JourneyRow[]> {
  return (await subject.get<{ rows: JourneyRow[] }>(`/api/workflows/${id}/trace`)).rows;
}

/** What becomes of the cases of a temper where nothing dies. */
export async function playUndisturbed(
  subject: Subject,
  temper: Temper,
  over: (opened: readonly OpenCase[]) => Promise<void>,
): Promise<ReadonlyMap<string, Outcome>> {
  const samples = temper.cases.filter(({ cancelled }) => !cancelled);
  const opened = await Promise.all(samples.map((sample, index) => openCase(subject, sample, `undisturbed-${index}`)));
  await over(opened);
  const outside = Outside.read(subject.data);
  const outcomes = opened.map(
    async ({ id, sample }) => [sample.name, (await readOutcome(subject, id, outside)).outcome] as const,
  );
  return new Map(await Promise.all(outcomes));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
