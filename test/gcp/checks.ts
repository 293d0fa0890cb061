import type { GoogleSystem } from './google-system.ts';

/** What does not hold of Google's side of a system where all is quiet. */
export async function problemsOfEngines(system: GoogleSystem): Promise<string[]> {
  const [inbox, outbox] = await Promise.all([system.documents('inbox'), system.documents('outbox')]);
  const backlogs = (system.broker?.broker.subscriptions ?? []).map(
    (each) => [each.config.name, each.backlog()] as const,
  );
  return [
    ...inbox
      .filter(({ data }) => data.state !== 'settled' && data.state !== undefined)
      .map(({ path }) => `${path} is not settled, though nothing is under way`),
    ...outbox.map(({ path }) => `${path} was never sent`),
    ...backlogs.filter(([, backlog]) => backlog > 0).map(([name, backlog]) => `${name}: ${backlog} messages wait`),
    ...problemsOfEndings(system),
  ];
}

/** Whoever was asked to stop did, by itself and in time; nobody ended unasked. */
function problemsOfEndings({ cloudRun }: GoogleSystem): string[] {
  return cloudRun.endings.flatMap(({ service, code, signal, asked, wasListening, afterMs, saidLast }) => {
    if (asked === 'SIGKILL' || (asked && !wasListening) || (asked === 'SIGTERM' && code === 0)) return [];
    const how = `exit ${code ?? signal} after ${Math.round(afterMs)} ms; it said last: ${saidLast}`;
    return [asked ? `${service} was asked to stop: ${how}` : `${service} ended, and nobody had asked: ${how}`];
  });
}
