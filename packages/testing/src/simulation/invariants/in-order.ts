import { orderOf } from '@dormouse/core';
import { about, type History, identityOf, type OnTheWire } from '../history.ts';

/**
 * Per topic and ordering key, and per topic and workflow, messages are published in the order of their commits. What comes
 * again counts the first time.
 */
export function inOrder({ witness, wire }: History): string[] {
  const committed = byKey(witness.units.flatMap(({ unit }) => unit.publish));
  const problems: string[] = [];
  for (const [key, published] of byKey(wire)) {
    const order = new Map((committed.get(key) ?? []).map((message, index) => [identityOf(message), index]));
    let last = -1;
    for (const message of published) {
      const place = order.get(identityOf(message));
      if (place === undefined) continue;
      if (place < last)
        problems.push(`${about(message)} was published after one of ${keyOf(message)} that was committed later`);
      last = Math.max(last, place);
    }
  }
  return problems;
}

function byKey<
  T extends {
    readonly topic: string;
    readonly attributes: OnTheWire['attributes'];
    readonly orderingKey?: string | undefined;
  },
>(messages: readonly T[]): Map<string, T[]> {
  const seen = new Set<string>();
  const keyed = messages.filter((message) => {
    const identity = identityOf(message);
    return keyOf(message) !== undefined && !seen.has(identity) && seen.add(identity);
  });
  return Map.groupBy(keyed, (message) => `${message.topic} ${keyOf(message)}`);
}

function keyOf({
  attributes,
  orderingKey,
}: {
  readonly attributes: OnTheWire['attributes'];
  readonly orderingKey?: string | undefined;
}): string | undefined {
  return orderingKey ?? orderOf({ attributes });
}
