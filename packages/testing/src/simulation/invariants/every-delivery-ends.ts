import { type DeadLetter, deadLetters, refOf } from '@dormouse/core';
import type { History } from '../history.ts';

/** At rest nothing is under way: no message waits, no retry, no redrive; and whoever died left a record with a cause. */
export function everyDeliveryEnds(history: History): string[] {
  const letters = history.documents.in<DeadLetter>(deadLetters);
  const unended = letters.flatMap(({ data: { id, subscription, state, cause, code } }) => {
    if (state === 'redriving') return [`dead letter ${id} of ${subscription} was redriven, and nothing came of it`];
    return cause && code ? [] : [`dead letter ${id} of ${subscription} has no cause`];
  });
  return [...waiting(history), ...unended, ...unrecorded(history)];
}

function waiting({ broker, documents }: History): string[] {
  const messages = broker.subscriptions.flatMap((subscription) => {
    const { config, leases, nextDueAt } = subscription;
    const moves = broker.deliveries.available(subscription) || leases.size > 0 || Number.isFinite(nextDueAt);
    return moves ? [`${config.name.split('/').at(-1)} has messages that nobody settles`] : [];
  });
  const others = documents.all.flatMap(({ ref, data }) => {
    if (ref.startsWith('inbox/') && data.state === 'retry') {
      return [`the delivery of ${ref} waits for a retry that never comes`];
    }
    if (!/^lines\/[^/]+\/keys\/[^/]+$/.test(ref)) return [];
    const { deadLetter: id } = data as { readonly deadLetter?: string };
    const letter = id === undefined ? undefined : documents.get<DeadLetter>(refOf(deadLetters, id));
    return letter?.state === 'open' ? [] : [`events wait in ${ref}, and nothing holds them up`];
  });
  return [...messages, ...others];
}

function unrecorded({ log, documents }: History): string[] {
  return log.flatMap((line) => {
    if (line.kind !== 'journal' || line.entry.decision.kind !== 'dead-letter') return [];
    const { id } = line.entry.decision;
    return documents.get(refOf(deadLetters, id)) ? [] : [`the journal has a dead letter ${id} that is not there`];
  });
}
