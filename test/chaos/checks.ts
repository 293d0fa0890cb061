import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { differences, type Outcome, readOutcome, sorted } from './outcome.ts';
import { Outside } from './outside.ts';
import type { SampleCase } from './sample-cases.ts';
import type { Victim } from './victim.ts';

/** What does not hold of a case that is over, seen from outside. */
export async function problemsOfCase(
  victim: Victim,
  id: string,
  sample: SampleCase,
  undisturbed: ReadonlyMap<string, Outcome>,
): Promise<string[]> {
  const { outcome, problems } = await readOutcome(victim, id, Outside.read(victim.data));
  const { mail, sms } = outcome.effects;
  const { 'notify.client': told = 0, 'notify.admin': alarmed = 0 } = outcome.published;
  if (sms !== told || mail !== told + alarmed) {
    problems.push(`${mail} mails and ${sms} text messages for ${told} notices to the client, ${alarmed} to operators`);
  }
  type Trace = { rows: { topic: string; to: string; status: string; errors: string[] }[] };
  const { rows } = await victim.get<Trace>(`/api/workflows/${id}/trace`);
  for (const { topic, to, status, errors } of rows) {
    if (!['done', 'cancelled'].includes(status)) problems.push(`${topic} to ${to} is ${status}: ${errors.join('; ')}`);
  }
  const wanted = undisturbed.get(sample.name);
  if (wanted) problems.push(...differences('outcome', outcome, wanted));
  if (wanted && sample.findings) problems.push(...differences('findings', outcome.findings, sorted(sample.findings)));
  return problems.map((problem) => `${id} (${sample.name}): ${problem}`);
}

/** What does not hold of a system where all is quiet. */
export async function problemsOfSystem(victim: Victim): Promise<string[]> {
  const problems = Outside.read(victim.data).problems();
  const { workflows } = await victim.get<{ workflows: { clientId: string }[] }>('/api/workflows?limit=500');
  const clients = workflows.map(({ clientId }) => clientId);
  for (const twin of clients.filter((clientId, index) => clients.indexOf(clientId) < index)) {
    problems.push(`the one request ${twin} opened two cases`);
  }
  const { deadLetters } = await victim.get<{ deadLetters: { topic: string; cause: string }[] }>('/api/dead-letters');
  for (const { topic, cause } of deadLetters) problems.push(`dead letter of ${topic}: ${cause}`);
  const database = new DatabaseSync(join(victim.data, 'dormouse.db'), { readOnly: true });
  try {
    const { integrity_check: integrity } = database.prepare('PRAGMA integrity_check').get()!;
    if (integrity !== 'ok') problems.push(`integrity_check: ${integrity}`);
    const unsettled = database
      .prepare("SELECT ref FROM document WHERE collection = 'inbox' AND json_extract(data, '$.state') <> 'settled'")
      .all();
    for (const { ref } of unsettled) problems.push(`${ref} is not settled, though nothing is under way`);
  } finally {
    database.close();
  }
  return problems;
}
