import { type History, keyOfDelivery } from '../history.ts';

/** One unit for an event and subscription, one for a command; and outside, one thing for an idempotency key. */
export function effectsOnce({ log, witness }: History): string[] {
  const units = new Map<string, number>();
  for (const line of log) {
    if (line.kind !== 'log') continue;
    const { chain, unit, cause } = line.entry;
    const what =
      cause.kind === 'event' ? `${cause.subscription} of ${cause.topic} ${cause.id}` : `command ${cause.command}`;
    count(units, `${what} changed ${chain} (unit ${unit})`);
  }
  const settled = new Map<string, number>();
  for (const { unit, delivery } of witness.units) {
    const settles = unit.writes.some(({ ref, data }) => ref.startsWith('inbox/') && data?.state === 'settled');
    if (delivery && settles) count(settled, `${keyOfDelivery(delivery)} was settled`);
  }
  const contents = new Map<string, string>();
  const reused: string[] = [];
  for (const { to, key, content } of witness.effects) {
    if (content === undefined) continue;
    const before = contents.get(`${to} ${key}`);
    if (before !== undefined && before !== content) reused.push(`${to} was asked for two things under the key ${key}`);
    contents.set(`${to} ${key}`, content);
  }
  return [...repeated(units), ...repeated(settled), ...new Set(reused)];
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

function repeated(counts: ReadonlyMap<string, number>): string[] {
  return [...counts].filter(([, times]) => times > 1).map(([what, times]) => `${what} ${times} times`);
}
