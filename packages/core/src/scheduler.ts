import { type Committing, commitUnit } from './commit.ts';
import { ConflictError } from './errors.ts';
import { causeOf } from './failure.ts';
import type { Ref, StateStore, Versioned } from './state-store.ts';
import type { StepPorts } from './step.ts';
import { firing } from './timer.ts';

/** Sees to it that timers and outbox are looked at, where no process lives that could. */
export interface Waker {
  /**
   * By then, epoch milliseconds, somebody looks. Never rejects: what is to be looked at is committed, and the periodic sweep
   * finds it otherwise.
   */
  wake(at: number): Promise<void>;
  /** A while later, when nothing of what was committed may be left in the outbox. Never rejects. */
  expectSent(): Promise<void>;
}

/** What a tick asks of a store beyond its port. */
export interface TickStore extends StateStore {
  /** When the earliest timer is due of those that are after this time, of any tenant; epoch milliseconds. */
  nextDueAt(after: number): Promise<number | undefined>;
}

export const timersAtATime = 100;
/** What is in the outbox for so long, whoever committed it will not send any more. */
export const strandedAfterMs = 10_000;
/** Of one look: each batch passes over all that failed before. */
const mostUnfired = 1_000;
const minuteMs = 60_000;

export interface Fired {
  /** How many were due, also those that another fired meanwhile. */
  readonly due: number;
  /** Which timer could not be fired, and why: the first of them. Absent where all were. */
  readonly failure?: string;
}

/**
 * Fires the timers that are due by then, in batches, the earliest first. One that cannot be fired holds up no other, until a
 * thousand of them do. Two at once do no harm: one meets a conflict.
 * @param goesOn asked before each batch
 */
export async function fireDue(ports: Committing, now: number, goesOn = () => true): Promise<Fired> {
  const unfired: Ref[] = [];
  let [due, failure]: [number, string?] = [0];
  while (unfired.length < mostUnfired && goesOn()) {
    const batch = await ports.store.due(now, timersAtATime, unfired);
    if (batch.length === 0) break;
    due += batch.length;
    // Each in a unit of its own. They share a group all the same.
    const fired = await Promise.allSettled(batch.map((timer) => fire(ports, timer)));
    for (const [index, each] of fired.entries()) {
      if (each.status === 'fulfilled') continue;
      const { ref } = batch[index]!;
      unfired.push(ref);
      failure ??= `${ref}: ${causeOf(each.reason)}`;
    }
  }
  return { due, ...(failure !== undefined && { failure }) };
}

async function fire(ports: Committing, timer: Versioned): Promise<void> {
  try {
    await commitUnit(ports, firing(timer));
  } catch (error) {
    // Set anew, cancelled, or fired by another.
    if (!(error instanceof ConflictError)) throw error;
  }
}

export interface TickPorts extends Pick<StepPorts, 'clock'> {
  readonly store: TickStore;
  readonly relay: NonNullable<StepPorts['relay']>;
  readonly waker: Waker;
}

export interface Ticked {
  /** Timers that were due, also those that another fired meanwhile. */
  readonly due: number;
  /** Nothing stranded is left in the outbox. */
  readonly isDrained: boolean;
  /** What could not be done, by topic or timer; it is looked at again at the next full minute. */
  readonly failures: readonly string[];
  /** Somebody looks again by then. Absent where no timer waits. */
  readonly nextDueAt?: number;
}

/**
 * What a platform without a host does whenever it is time: fires what is due, sends what is stranded, and has itself woken for the
 * next. Any number of them at once, also too early or for nothing, do no harm.
 * @param at the time for which it was woken, epoch milliseconds: a clock of ours that is behind holds up no timer
 * @throws what the store throws where it does not tell what is due next; then it is to be tried again
 */
export async function tick(ports: TickPorts, at = 0): Promise<Ticked> {
  const now = Math.max(ports.clock.now(), at);
  const told = (subject: string) => (error: unknown) => ({ failure: `${subject}: ${causeOf(error)}` });
  const [fired, drained] = await Promise.all([
    fireDue(ports, now).catch(told('timers')),
    ports.relay.drain({ before: now - strandedAfterMs }).catch(told('outbox')),
  ]);
  const failures = [
    ...(fired.failure === undefined ? [] : [fired.failure]),
    ...('failure' in drained ? [drained.failure] : drained.map((topic) => `${topic}: cannot be published to`)),
  ];
  // Also after a failure: what is due later must not depend on what is due now.
  const nextDueAt = await ports.store.nextDueAt(now);
  if (nextDueAt !== undefined) await ports.waker.wake(nextDueAt);
  // Shared by all that meet it within a minute: for as long as it lasts, tasks of their own would pile up.
  if (failures.length > 0) await ports.waker.wake((Math.floor(now / minuteMs) + 1) * minuteMs);
  return {
    due: 'due' in fired ? fired.due : 0,
    isDrained: !('failure' in drained) && drained.length === 0,
    failures,
    ...(nextDueAt !== undefined && { nextDueAt }),
  };
}
