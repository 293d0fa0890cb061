import { type Duration, durationMs } from './duration.ts';
import { DormouseError } from './errors.ts';
import { redacted } from './redact.ts';
import { idOf, type Ref, refOf, type StateStore, type UnitOfWork, type Versioned, type Write } from './state-store.ts';
import { type Timer, timersCollection } from './timer.ts';

export interface DeferOptions {
  /** How long after it was first deferred an event dies for it. Default 7d; 1s to 30d. */
  readonly maxAge?: Duration;
}

const longestAge = '30d';

/**
 * Thrown by `step.defer`, so that nothing after it runs: the event came too early. It is no failure, and a handler that
 * catches it has deferred all the same.
 */
export class Deferral extends Error {
  override readonly name = 'Deferral';
  readonly reason: string;
  readonly maxAgeMs: number;

  /** @throws DormouseError `config.setting`, `config.duration` */
  constructor(reason: string, { maxAge = '7d' }: DeferOptions) {
    super(`deferred: ${reason}`);
    this.reason = redacted(reason.slice(0, 1000));
    this.maxAgeMs = durationMs(maxAge, 'step.defer: maxAge');
    if (this.maxAgeMs < 1_000 || this.maxAgeMs > durationMs(longestAge)) {
      throw new DormouseError('config.setting', `step.defer: maxAge must be 1s to ${longestAge}, got "${maxAge}"`);
    }
  }
}

/**
 * An event that waits until a document it was decided on moves: a timer at its greatest age, which is fired earlier by the
 * commit that writes one of those.
 */
export interface DeferredEvent extends Timer {
  readonly waitsFor: readonly Ref[];
  /** Epoch milliseconds. */
  readonly deferredAt: number;
}

/**
 * Where it is said that somebody may wait for documents of a workflow. Every step and command about it reads this, and whoever
 * writes those documents commits only if it still is so. Whoever defers writes it, on condition that the documents are as he read
 * them. So of two at once one sees the other, and no wake-up is lost.
 */
export function deferralsRef(workflow: Ref): Ref {
  return refOf('deferrals', idOf(workflow));
}

type Effects = Pick<UnitOfWork, 'reads' | 'writes' | 'publish'>;

/** What parks an event. */
export function parked(timer: Ref, event: DeferredEvent, deferrals: Ref, now: number): Write[] {
  return [
    { ref: timer, data: { ...event }, dueAfterMs: event.dueAt - now },
    { ref: deferrals, data: { deferredAt: now } },
  ];
}

/**
 * What a unit does besides that writes documents of a workflow: who waits for one of them comes again, in the order they came. Where
 * nobody waits any more, nothing says so.
 * @param hasWaited its own event was deferred, perhaps until its greatest age, and does not wait again
 */
export async function waking(
  store: StateStore,
  deferrals: Versioned | undefined,
  tenant: string,
  written: readonly Ref[],
  hasWaited = false,
): Promise<Effects> {
  if (deferrals === undefined || (written.length === 0 && !hasWaited)) return { reads: [], writes: [], publish: [] };
  const reads = [deferrals];
  if (deferrals.data === null || deferrals.tenant !== tenant) return { reads, writes: [], publish: [] };
  const waiting = await deferredOf(store, deferrals.ref, tenant);
  const woken = waiting.filter(({ event }) => event.waitsFor.some((ref) => written.includes(ref)));
  const writes: Write[] = woken.map(({ ref }) => ({ ref, data: null }));
  if (woken.length === waiting.length) writes.push({ ref: deferrals.ref, data: null });
  return { reads, writes, publish: woken.map(({ event }) => event.message) };
}

async function deferredOf(store: StateStore, deferrals: Ref, tenant: string) {
  const collection = timersCollection(deferrals);
  const found: { readonly ref: Ref; readonly event: DeferredEvent }[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await store.find({ collection, tenant, limit: 500, ...(cursor !== undefined && { cursor }) });
    for (const { ref, data } of page.documents) {
      const event = data as unknown as DeferredEvent;
      if (event.waitsFor !== undefined) found.push({ ref, event });
    }
    // A page begins with the newest.
    if (page.cursor === undefined)
      return found.toReversed().toSorted((a, b) => a.event.deferredAt - b.event.deferredAt);
    cursor = page.cursor;
  }
}
