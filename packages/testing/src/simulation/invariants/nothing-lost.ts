import { decodeMarks } from '@dormouse/core';
import { about, deliveryKey, type History, identityOf, keyOfDelivery, takersOf } from '../history.ts';

/** Every committed message is on the wire, and everything on the wire was settled by every subscription that takes it. */
export function nothingLost({ witness, wire, system, timers, unsent }: History): string[] {
  const onTheWire = new Set(wire.map(identityOf));
  const unpublished = witness.units
    .flatMap(({ unit }) => unit.publish)
    .filter((message) => !onTheWire.has(identityOf(message)))
    .map((message) => `${about(message)} was committed, and never published`);
  const settled = new Set(
    witness.units.flatMap(({ delivery }) => (delivery === undefined ? [] : [keyOfDelivery(delivery)])),
  );
  const unsettled = wire.flatMap((message) => {
    const timer = decodeMarks(message.attributes).timer;
    // Whoever cancels a timer or sets it anew takes its message back, wherever it is.
    if (timer && timers.get(timer.generation)?.endedAt !== undefined) return [];
    return takersOf(system, message)
      .filter((subscription) => !settled.has(deliveryKey(subscription, message.attributes)))
      .map((subscription) => `${about(message)} never came to anything in ${subscription}`);
  });
  const left = unsent.map(({ message }) => `${about(message)} is left in the outbox`);
  return [...unpublished, ...unsettled, ...left];
}
