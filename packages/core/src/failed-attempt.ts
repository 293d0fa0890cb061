import type { Attempt } from './attempt.ts';
import { type DeadLetter, deadLetters } from './dead-letter.ts';
import { waking } from './deferral.ts';
import { addressed, encodeMessage, type Message, messageToKeep } from './envelope.ts';
import { causeOf, decide, placesOf, RetryLaterError, type RetryPolicy } from './failure.ts';
import type { PublishedEvent } from './log.ts';
import { announcedOf } from './raw-dead-letter.ts';
import { following, hasWaited, preconditions, type Standing } from './standing.ts';
import { idOf, refOf, type UnitOfWork, type Write } from './state-store.ts';
import { deadLetter } from './system-topics.ts';
import { type Timer, timerRef } from './timer.ts';
import { workflowOf } from './workflow.ts';

/**
 * What a failed attempt commits: the decision, and what carries it out.
 * @param seen what its handler had read: what is decided on that holds only if it still is so
 * @param ofActivity the policy of the activity that failed, if one did
 */
export async function failedAttempt(
  attempt: Attempt,
  standing: Standing,
  error: unknown,
  seen: UnitOfWork['reads'],
  ofActivity?: RetryPolicy,
): Promise<UnitOfWork> {
  const { clock, random, log, store } = attempt.ports;
  const now = clock.now();
  const { name, retry, topic, order } = attempt.subscription;
  const { inbox, deferrals, place, owner } = standing;
  const { tenant, subject } = owner;
  // Each is counted for itself.
  const counter = error instanceof RetryLaterError ? 'postponements' : ofActivity ? 'outages' : 'failures';
  const failures = ((inbox.data?.[counter] as number | undefined) ?? 0) + 1;
  const policy = ofActivity ?? retry;
  const endless = place !== undefined && order!.poison === 'block';
  const decision = decide(error, failures, endless ? { ...policy, attempts: Infinity } : policy, random.fraction());
  const workflow = workflowOf(subject ?? '');
  const cause = causeOf(error);
  // The same for every attempt at this event, as the inbox's.
  const key = idOf(inbox.ref);
  const record = { ...attempt.remembered(inbox), state: decision.kind, attempt: attempt.number, at: now };
  const message = messageToKeep(attempt.delivery, topic);
  const gone = decision.kind === 'dead-letter' && hasWaited(standing);
  const unparked = await waking(store, deferrals, tenant, [], gone);
  const writes: Write[] = [...unparked.writes];
  const publish: Message[] = [];
  const published: PublishedEvent[] = [];

  if (decision.kind === 'retry') {
    const { afterMs } = decision;
    const retry: Timer = {
      name: `retry of ${name}`,
      dueAt: now + afterMs,
      message: addressed(message, name, attempt.number + 1),
    };
    writes.push(
      { ref: inbox.ref, data: { ...record, [counter]: failures - (decision.counts ? 0 : 1) } },
      { ref: timerRef(workflow ?? 'workflows/none', `retry ${key}`), data: { ...retry }, dueAfterMs: afterMs },
      ...(place?.kept(now) ?? []),
    );
  } else {
    const told = {
      id: key,
      topic: topic.name,
      subscription: name,
      code: decision.code,
      cause,
      attempts: attempt.number,
    };
    const letter: DeadLetter = { ...told, workflow, state: 'open', at: now, message, inbox: inbox.ref };
    writes.push(
      { ref: inbox.ref, data: { ...record, [counter]: failures } },
      { ref: refOf(deadLetters, key), data: { ...letter } },
    );
    if (order?.poison === 'park') {
      const next = await following(standing, attempt);
      writes.push(...next.writes);
      publish.push(...next.publish);
    } else writes.push(...(place?.kept(now, key) ?? []));
    // What dies on the way to the record of the dead is recorded and logged, never announced again.
    if (topic.name !== deadLetter.name) {
      const announced = announcedOf(letter, attempt.source, attempt.id, { tenant, subject, at: now });
      publish.push(encodeMessage(announced));
      published.push({ id: announced.id, topic: announced.type, subject, data: told });
    }
  }
  const journal = attempt.journal({
    workflow,
    moment: 'attempt.failed',
    error: { code: decision.code, message: cause },
    decision:
      decision.kind === 'retry' ? { kind: 'retry', at: now + decision.afterMs } : { kind: 'dead-letter', id: key },
    published,
  });
  log.warn('attempt.failed', {
    subscription: name,
    event: attempt.id,
    workflow,
    attempt: attempt.number,
    decision: decision.kind,
    code: decision.code,
    cause,
    ...(decision.code === 'step.failed' && { at: placesOf(error) }),
  });
  // That the outside failed holds whatever moved meanwhile. To run again at once would ask it again, with no backoff.
  const holdsAnyway = ofActivity !== undefined && decision.kind === 'retry';
  const reads = [...preconditions(standing), ...unparked.reads, ...(holdsAnyway ? [] : seen)];
  return { tenant, reads, writes, entries: [], journal, publish };
}
