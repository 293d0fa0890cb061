import { actorOf, type Entry } from '@dormouse/core';
import { paint, span, stamp } from './paint.ts';

/** Where following a case ends: it is over, or waits for a person. */
export const finalStatuses: ReadonlySet<string> = new Set(['closed', 'rejected', 'escalated', 'cancelled']);

/** An entry of a workflow's log as lines of a live timeline. */
export function timelineOf({ at, kind, entry }: Entry): string[] {
  const { cause } = entry;
  const who = actorOf(cause);
  const when = paint('dim', stamp(at).slice(11));
  if (kind === 'journal') {
    const { decision, error } = entry;
    const told = error.message.slice(0, 160);
    if (decision.kind === 'defer') return [`${when} ${who.padEnd(14)} ${paint('yellow', `deferred: ${told}`)}`];
    const next = decision.kind === 'retry' ? `again in ${span(decision.at - at)}` : 'dead-lettered';
    return [`${when} ${who.padEnd(14)} ${paint('red', `failed: ${told}`)} · ${next}`];
  }
  const did = cause.kind === 'command' ? cause.command : cause.topic;
  const out = entry.published.map(({ topic, dueAt }) =>
    dueAt === undefined ? topic : `${topic} (in ${span(dueAt - at)})`,
  );
  const counted = [...new Set(out)].map((topic) => {
    const count = out.filter((each) => each === topic).length;
    return count > 1 ? `${topic} ×${count}` : topic;
  });
  // Entries of one unit share its outgoing events; the one of its own subject tells them.
  if (counted.length === 0 && entry.note === undefined) return [];
  const arrow = counted.length > 0 ? ` → ${counted.join(', ')}` : '';
  return [
    `${when} ${paint('cyan', who.padEnd(14))} ${did}${arrow}${entry.note ? paint('dim', ` · ${entry.note}`) : ''} ${paint('dim', span(entry.durationMs))}`,
  ];
}
