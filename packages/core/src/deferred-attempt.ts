import type { Attempt } from './attempt.ts';
import { type Deferral, type DeferredEvent, parked } from './deferral.ts';
import { addressed, messageToKeep } from './envelope.ts';
import { DormouseError } from './errors.ts';
import { failedAttempt } from './failed-attempt.ts';
import { preconditions, type Standing } from './standing.ts';
import { idOf, type UnitOfWork } from './state-store.ts';
import { timerRef } from './timer.ts';
import { workflowOf } from './workflow.ts';

/** What an attempt commits whose event came too early: it waits for what it was decided on, and that this is as it was. */
export async function deferredAttempt(
  attempt: Attempt,
  standing: Standing,
  { reason, maxAgeMs }: Deferral,
  seen: UnitOfWork['reads'],
): Promise<UnitOfWork> {
  const { clock, log } = attempt.ports;
  const { name, topic } = attempt.subscription;
  const { inbox, workflow, deferrals, place, owner } = standing;
  const now = clock.now();
  const since = (inbox.data?.deferredAt as number | undefined) ?? now;
  const leftMs = Math.min(maxAgeMs, since + maxAgeMs - now);
  const about = workflow!.ref;
  const reads = [...preconditions(standing), workflow!, ...seen];
  if (leftMs <= 0) {
    const error = new DormouseError('step.deferred', `deferred for ${maxAgeMs / 1000}s: ${reason}`);
    return failedAttempt(attempt, standing, error, reads);
  }
  const event: DeferredEvent = {
    name: `deferral of ${name}`,
    dueAt: now + leftMs,
    message: addressed(messageToKeep(attempt.delivery, topic), name, attempt.number + 1),
    waitsFor: [about, ...seen.map(({ ref }) => ref).filter((ref) => ref.startsWith(`${about}/`))],
    deferredAt: now,
  };
  const record = {
    ...attempt.remembered(inbox),
    state: 'deferred',
    attempt: attempt.number,
    at: now,
    deferredAt: since,
  };
  const journal = attempt.journal({
    workflow: workflowOf(owner.subject ?? ''),
    moment: 'event.deferred',
    error: { code: 'step.deferred', message: reason },
    decision: { kind: 'defer', until: event.dueAt },
    published: [],
  });
  log.info('event.deferred', {
    subscription: name,
    event: attempt.id,
    workflow: about,
    attempt: attempt.number,
    reason,
  });
  return {
    tenant: owner.tenant,
    reads,
    writes: [
      { ref: inbox.ref, data: record },
      ...parked(timerRef(about, `deferred ${idOf(inbox.ref)}`), event, deferrals!.ref, now),
      ...(place?.kept(now) ?? []),
    ],
    entries: [],
    journal,
    publish: [],
  };
}
