import { type DeadLetter, deadLetters } from '@dormouse/core';
import type { History } from '../history.ts';

/** At rest nothing is under way: no message waits, no retry, no redrive; and whoever died left a record with a cause. */
export function everyDeliveryEnds({ broker, documents, log }: History): string[] {
  const waiting = broker.subscriptions
    .filter(
      (subscription) =>
        broker.deliveries.available(subscription) ||
        subscription.leases.size > 0 ||
        Number.isFinite(subscription.nextDueAt),
    )
    .map(({ config }) => `${config.name.split('/').at(-1)} has messages that nobody settles`);
  const inboxes = documents.all.flatMap(({ ref, data }) =>
    ref.startsWith('inbox/') && data.state === 'retry'
      ? [`the delivery of ${ref} waits for a retry that never comes`]
      : [],
  );
  const letters = documents.in<DeadLetter>(deadLetters);
  const redriving = letters
    .filter(({ data }) => data.state === 'redriving')
    .map(({ data }) => `dead letter ${data.id} of ${data.subscription} was redriven, and nothing came of it`);
  const unexplained = letters
    .filter(({ data }) => !data.cause || !data.code)
    .map(({ data }) => `dead letter ${data.id} has no cause`);
  const known = new Set(letters.map(({ id }) => id));
  const unrecorded = log.flatMap((line) => {
    if (line.kind !== 'journal' || line.entry.decision.kind !== 'dead-letter') return [];
    const { id } = line.entry.decision;
    return known.has(id) ? [] : [`the journal has a dead letter ${id} that is not there`];
  });
  return [...waiting, ...inboxes, ...redriving, ...unexplained, ...unrecorded];
}
