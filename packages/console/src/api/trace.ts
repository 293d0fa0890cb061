import {
  actorOf,
  type Entry,
  erasedRef,
  type Line,
  lineRef,
  type PublishedEvent,
  type Ref,
  type Removed,
  removedRef,
  type StateStore,
  serviceOf,
  timersOf,
} from '@dormouse/core';
import type { ServiceHealth, TopicStatus } from './console.ts';

/** One event on its way to one subscription: what happened, or what is still to come. */
export interface TraceRow {
  readonly at: number;
  readonly from: string;
  readonly to: string;
  readonly topic: string;
  readonly eventId: string;
  readonly status:
    | 'published'
    | 'done'
    | 'held'
    | 'deferred'
    | 'retrying'
    | 'dead-lettered'
    | 'scheduled'
    | 'cancelled';
  readonly attempts: number;
  readonly durationMs?: number;
  /** When a retry or timer is due; until when a deferred event waits. */
  readonly dueAt?: number;
  readonly errors: readonly string[];
  readonly note?: string;
  /** Why it waits: the service it is for does not work. */
  readonly failing?: ServiceHealth['failing'];
  readonly data: unknown;
}

export interface Trace {
  /** What retention has removed: not shown here, and not for want of having happened. */
  readonly removed?: Removed;
  /** When its personal data was erased. */
  readonly erasedAt?: number;
  readonly rows: readonly TraceRow[];
  readonly pendingTimers: readonly { readonly name: string; readonly dueAt: number }[];
}

/** The journey of a workflow, read from its log and journal. */
export async function traceOf(
  store: StateStore,
  workflow: Ref,
  topics: readonly TopicStatus[],
  services: readonly ServiceHealth[],
): Promise<Trace> {
  const entries = await Array.fromAsync(store.log({ workflow }));
  const timers = await timersOf(store, workflow);
  const [found, removed, erased] = await store.get([workflow, removedRef(workflow), erasedRef(workflow)]);
  const turns = await turnsOf(store, workflow, found!.tenant, topics);
  const pending = new Map(timers.map(({ name, generation, dueAt }) => [generation ?? name, dueAt]));
  const journeys = new Map<string, Entry[]>();
  const key = (eventId: string, subscription: string) => `${eventId} ${subscription}`;
  for (const entry of entries) {
    const { cause } = entry.entry;
    if (cause.kind !== 'event') continue;
    const at = key(cause.id, cause.subscription);
    journeys.set(at, [...(journeys.get(at) ?? []), entry]);
  }
  const readers = new Map(topics.map(({ name, subscriptions }) => [name, subscriptions.map((each) => each.name)]));
  const failing = new Map(services.flatMap(({ name, failing }) => (failing ? [[name, failing]] : [])));
  const rows: TraceRow[] = [];
  for (const { at, entry } of entries) {
    const from = actorOf(entry.cause);
    for (const event of entry.published) {
      for (const subscription of readers.get(event.topic) ?? []) {
        const journey = journeys.get(key(event.id, subscription)) ?? [];
        const common = {
          at,
          from,
          to: serviceOf(subscription),
          topic: event.topic,
          eventId: event.id,
          data: event.data,
        };
        const went = outcome(event, journey, pending);
        const turn = turns.get(subscription);
        const isHeld = went.status === 'published' && turn !== undefined && turn !== event.id;
        const came = isHeld ? { ...went, status: 'held' as const } : went;
        const waitsFor = waiting.has(came.status) ? failing.get(common.to) : undefined;
        rows.push({ ...common, ...came, ...(waitsFor && { failing: waitsFor }) });
      }
    }
  }
  // One whose message was handled without success waits for a retry, which has a timer of its own, or died.
  const tried = new Set(entries.map(({ entry }) => entry.cause.id));
  const waits = timers.filter(({ generation }) => generation === undefined || !tried.has(generation));
  const pendingTimers = waits.map(({ name, dueAt }) => ({ name, dueAt }));
  return {
    ...(removed!.data && { removed: removed!.data as Removed }),
    ...(erased!.data && { erasedAt: erased!.data.at as number }),
    rows,
    pendingTimers,
  };
}

/** Of each ordered subscription where events of the workflow wait: the id of the one whose turn it is. */
async function turnsOf(
  store: StateStore,
  workflow: Ref,
  tenant: string | null,
  topics: readonly TopicStatus[],
): Promise<Map<string, string>> {
  const ordered = topics.flatMap(({ subscriptions }) => subscriptions.filter((each) => each.ordered));
  if (ordered.length === 0 || tenant === null) return new Map();
  const lines = await store.get(ordered.map(({ name }) => lineRef(name, tenant, workflow)));
  return new Map(
    lines.flatMap(({ data }, index) => (data ? [[ordered[index]!.name, (data as unknown as Line).turn[2]]] : [])),
  );
}

const waiting: ReadonlySet<TraceRow['status']> = new Set(['published', 'retrying']);

type Outcome = Pick<TraceRow, 'status' | 'attempts' | 'errors' | 'durationMs' | 'dueAt' | 'note'>;

function outcome(event: PublishedEvent, journey: readonly Entry[], pending: ReadonlyMap<string, number>): Outcome {
  const failures = journey.flatMap(({ kind, entry }) => (kind === 'journal' ? [entry] : []));
  const errors = failures.map(({ error }) => `${error.code}: ${error.message}`);
  // A step that touched several documents left an entry on each chain; they agree.
  const done = journey.find(({ kind }) => kind === 'log');
  if (done?.kind === 'log' && done.entry.cause.kind === 'event') {
    const { durationMs, note, cause } = done.entry;
    return { status: 'done', attempts: cause.attempt, durationMs, errors, ...(note !== undefined && { note }) };
  }
  const last = failures.at(-1)?.decision;
  if (last?.kind === 'retry') return { status: 'retrying', attempts: failures.length, dueAt: last.at, errors };
  if (last?.kind === 'defer') return { status: 'deferred', attempts: failures.length, dueAt: last.until, errors };
  if (last?.kind === 'dead-letter') return { status: 'dead-lettered', attempts: failures.length, errors };
  if (event.timer !== undefined) {
    const dueAt = pending.get(event.id);
    return dueAt === undefined
      ? { status: 'cancelled', attempts: 0, errors }
      : { status: 'scheduled', attempts: 0, dueAt, errors };
  }
  return { status: 'published', attempts: 0, errors };
}
