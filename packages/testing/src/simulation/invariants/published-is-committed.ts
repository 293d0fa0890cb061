import { auditLog } from '@dormouse/core';
import { about, type History } from '../history.ts';

/** Nothing leaves that no commit stands for. */
export function publishedIsCommitted({ witness, wire }: History): string[] {
  const committed = new Set(
    witness.units.flatMap(({ unit }) => [
      ...unit.publish.map(({ attributes }) => attributes['ce-id']),
      ...unit.writes.flatMap(({ data }) => {
        const message = data?.message as { attributes?: Record<string, string> } | undefined;
        return message?.attributes ? [message.attributes['ce-id']] : [];
      }),
    ]),
  );
  const early = witness.early.map((message) => `${about(message)} was published before its commit`);
  const uncommitted = wire
    .filter(({ topic, attributes }) => topic !== auditLog.name && !committed.has(attributes['ce-id']))
    .map((message) => `${about(message)} was published, and no commit has it`);
  return [...early, ...uncommitted];
}
