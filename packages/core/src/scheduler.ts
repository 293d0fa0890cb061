import { type Committing, commitUnit } from './commit.ts';
import { ConflictError } from './errors.ts';
import type { StateStore, Versioned } from './state-store.ts';
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

/**
 * Fires a batch of the timers that are due by then, the earliest first. Two at once do no harm: one meets a conflict.
 * @returns how many it looked at: of a full batch there may be more
 */
export async function fireDue(ports: Committing, now: number): Promise<number> {
  const due = await ports.store.due(now, timersAtATime);
  // Each in a unit of its own: one that cannot leave holds up no other. They share a group all the same.
  const fired = await Promise.allSettled(due.map((timer) => fire(ports, timer)));
  const failed = fired.find(({ status }) => status === 'rejected');
  if (failed) throw (failed as PromiseRejectedResult).reason;
  return due.length;
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
  /** Somebody looks again by then. Absent where no timer waits. */
  readonly nextDueAt?: number;
}

/**
 * What a platform without a host does whenever it is time: fires what is due, sends what is stranded, and has itself woken for the
 * next. Any number of them at once, also too early or for nothing, do no harm.
 * @param at the time for which it was woken, epoch milliseconds: a clock of ours that is behind holds up no timer
 * @throws what the store throws, after all that could be done was; then it is to be tried again
 */
export async function tick(ports: TickPorts, at = 0): Promise<Ticked> {
  const now = Math.max(ports.clock.now(), at);
  const [due, isDrained] = await Promise.allSettled([
    fireAllDue(ports, now),
    ports.relay.drain({ before: now - strandedAfterMs }),
  ]);
  // Also after a failure: what is due later must not depend on what is due now, for which this one is tried again.
  const nextDueAt = await ports.store.nextDueAt(now);
  if (nextDueAt !== undefined) await ports.waker.wake(nextDueAt);
  if (due.status === 'rejected') throw due.reason;
  if (isDrained.status === 'rejected') throw isDrained.reason;
  return { due: due.value, isDrained: isDrained.value, ...(nextDueAt !== undefined && { nextDueAt }) };
}

async function fireAllDue(ports: Committing, now: number): Promise<number> {
  let all = 0;
  for (;;) {
    const looked = await fireDue(ports, now);
    all += looked;
    if (looked < timersAtATime) return all;
  }
}
