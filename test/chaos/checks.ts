import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { rowsOf } from './cases.ts';
import { differences, type Outcome, readOutcome, sorted } from './outcome.ts';
import { Outside } from './outside.ts';
import type { SampleCase } from './sample-cases.ts';
import type { Subject } from './subject.ts';

/** What does not hold of a case that is over, seen from outside. */
export async function problemsOfCase(
  subject: Subject,
  id: string,
  sample: SampleCase,
  undisturbed: ReadonlyMap<string, Outcome>,
): Promise<string[]> {
  const { outcome, problems } = await readOutcome(subject, id, Outside.read(subject.data));
  const { mail, sms } = outcome.effects;
  const { 'notify.client': told = 0, 'notify.admin': alarmed = 0 } = outcome.published;
  if (sms !== told || mail !== told + alarmed) {
    problems.push(`${mail} mails and ${sms} text messages for ${told} notices to the client, ${alarmed} to operators`);
  }
  for (const { topic, to, status, errors } of await rowsOf(subject, id)) {
    if (!['done', 'cancelled'].includes(status)) problems.push(`${topic} to ${to} is ${status}: ${errors.join('; ')}`);
  }
  const wanted = undisturbed.get(sample.name);
  if (wanted) problems.push(...differences('outcome', outcome, wanted));
  if (wanted && sample.findings) problems.push(...differences('findings', outcome.findings, sorted(sample.findings)));
  return problems.map((problem) => `${id} (${sample.name}): ${problem}`);
}

/** What does not hold of a system where all is quiet. */
export async function problemsOfSystem(subject: Subject): Promise<string[]> {
  const problems = Outside.read(subject.data).problems();
  const { workflows } = await subject.get<{ workflows: { clientId: string }[] }>('/api/workflows?limit=500');
  const clients = workflows.map(({ clientId }) => clientId);
  for (const twin of clients.filter((clientId, index) => clients.indexOf(clientId) < index)) {
    problems.push(`the one request ${twin} opened two cases`);
  }
  const { deadLetters } = await subject.get<{ deadLetters: { topic: string; cause: string }[] }>('/api/dead-letters');
  for (const { topic, cause } of deadLetters) problems.push(`dead letter of ${topic}: ${cause}`);
  return problems;
}

/** What does not hold of the file that it keeps on one machine. */
export function problemsOfDatabase(data: string): string[] {
  const problems: string[] = [];
  const database = new DatabaseSync(join(data, 'dormouse.db'), { readOnly: true });
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
