import type { History } from '../history.ts';

/** Each timer that was set was taken in once by each subscription, or was cancelled or set anew, and then not. */
export function timersOnce({ log, timers, documents, system, now }: History): string[] {
  const taken = new Map<string, number[]>();
  for (const [index, line] of log.entries()) {
    if (line.kind !== 'log' || line.entry.cause.kind !== 'event') continue;
    const { id, subscription } = line.entry.cause;
    if (timers.has(id)) taken.set(`${id} ${subscription}`, [...(taken.get(`${id} ${subscription}`) ?? []), index]);
  }
  const problems: string[] = [];
  for (const { generation, workflow, name, endedAt } of timers.values()) {
    const timer = `timer "${name}" of ${workflow} (${generation})`;
    for (const [key, indexes] of taken) {
      if (!key.startsWith(`${generation} `)) continue;
      const units = new Set(indexes.map((index) => unitAt(log, index)));
      if (units.size > 1) problems.push(`${timer} fired ${units.size} times`);
      const ended = endedAt === undefined ? undefined : unitAt(log, endedAt);
      const late = indexes.find((index) => endedAt !== undefined && index > endedAt && unitAt(log, index) !== ended);
      if (late !== undefined) problems.push(`${timer} fired after it was cancelled or set anew`);
    }
  }
  for (const { ref, data } of documents.all) {
    if (!ref.startsWith('timers/')) continue;
    const { name, generation, dueAt, consumed } = data as {
      name: string;
      generation?: string;
      dueAt: number;
      consumed?: true;
    };
    const waits = generation !== undefined && !consumed && dueAt > now;
    const isHeard = generation !== undefined && [...taken.keys()].some((key) => key.startsWith(`${generation} `));
    const hasTakers = () =>
      system.manifest.services.some(({ subscriptions }) =>
        subscriptions.some(({ topic }) => topic === (data.message as { topic: string }).topic),
      );
    if (!waits && !consumed && !isHeard && hasTakers())
      problems.push(`timer "${name}" (${ref}) was due, and never fired`);
  }
  return [...new Set(problems)];
}

function unitAt(log: History['log'], index: number): string {
  return (log[index]!.entry as { unit: string }).unit;
}
