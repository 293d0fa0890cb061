import { type DeadLetter, decodeMarks, deliveryRef, orderOf } from '@dormouse/core';
import { about, deliveryKey, type History, keyOfDelivery, type OnTheWire, takersOf } from '../history.ts';

/** One event in the order of a workflow at a subscription. */
interface Stage {
  readonly message: OnTheWire;
  readonly line: readonly Stage[];
  readonly place: number;
  /** Settled, or nobody waits for it any more. */
  isOver: boolean;
}

/**
 * Where a subscription asks for order, it settles no event of a workflow while one is open that was published before it: nobody goes on without
 * one that waits, is tried again, or is dead, unless that is discarded, or the subscription parks what is dead.
 */
export function settledInOrder({ witness, wire, system, timers }: History): string[] {
  const parks = new Map(
    system.manifest.services.flatMap(({ subscriptions }) =>
      subscriptions.flatMap(({ name, order }) => (order ? [[name, order.poison === 'park'] as const] : [])),
    ),
  );
  const stages = stagesOf(
    // Whoever cancels a timer or sets it anew takes its message back, and it may be passed over at any time.
    wire.filter(({ attributes }) => timers.get(decodeMarks(attributes).timer?.generation ?? '')?.endedAt === undefined),
    (message) => takersOf(system, message).filter((subscription) => parks.has(subscription)),
  );
  return witness.units.flatMap(({ unit, delivery }) => {
    for (const { ref, data } of unit.writes) {
      if (!ref.startsWith('dead-letters/') || data?.state !== 'discarded') continue;
      const { subscription, message } = data as unknown as DeadLetter;
      const discarded = stages.get(deliveryKey(subscription, message.attributes));
      if (discarded) discarded.isOver = true;
    }
    const stage = delivery && stages.get(keyOfDelivery(delivery));
    if (!stage || stage.isOver) return [];
    const { subscription } = delivery;
    const inbox = deliveryRef(subscription, delivery);
    const state = unit.writes.find(({ ref }) => ref === inbox)?.data?.state;
    stage.isOver = state === 'settled' || (state === 'dead-letter' && parks.get(subscription)!);
    if (state !== 'settled') return [];
    const open = stage.line.find(({ isOver, place }) => !isOver && place < stage.place);
    if (!open) return [];
    return [`${subscription} settled ${about(stage.message)} before ${about(open.message)}, which came before it`];
  });
}

/** By delivery: the events of each workflow, in the order in which they were published first. */
function stagesOf(
  wire: readonly OnTheWire[],
  takers: (message: OnTheWire) => readonly string[],
): ReadonlyMap<string, Stage> {
  const lines = new Map<string, Stage[]>();
  const stages = new Map<string, Stage>();
  for (const message of wire) {
    const workflow = orderOf(message);
    if (workflow === undefined) continue;
    for (const subscription of takers(message)) {
      const key = deliveryKey(subscription, message.attributes);
      if (stages.has(key)) continue;
      const name = `${subscription} ${message.attributes['ce-tenant']} ${workflow}`;
      const line = lines.get(name) ?? [];
      lines.set(name, line);
      const stage: Stage = { message, line, place: line.length, isOver: false };
      line.push(stage);
      stages.set(key, stage);
    }
  }
  return stages;
}
