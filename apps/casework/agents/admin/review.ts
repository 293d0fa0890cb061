import type { Case, Letter } from '../../case.ts';
import type { CaseRequest } from '../../case-request/case-request.ts';
import { intakeReasons } from '../../case-request/case-request.ts';
import type { Finding } from '../../statement/findings.ts';
import { formatMinor } from '../../statement/money.ts';

/** What speaks against closing a case: consent, deadlines, letters, amounts, answers. Empty where nothing does. */
export function complianceObjections(
  found: Case,
  request: CaseRequest,
  letters: readonly Letter[],
  findings: readonly Finding[],
): string[] {
  const objections = intakeReasons(request);
  if (!found.processing) objections.push('no statement was looked through');
  const claimed = letters.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  const due = findings.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  if (claimed !== due) objections.push(`the letters claim ${claimed} minor units, the findings come to ${due}`);
  if (found.processing && found.processing.disputedMinor !== due)
    objections.push('the case names another sum than its findings come to');
  for (const letter of letters) {
    const answered = letter.status === 'accepted' || letter.status === 'rejected';
    if (!letter.file || !(letter.submissionId || answered)) objections.push(`letter ${letter.id} was not submitted`);
    if (letter.submissionId && !letter.deadline) objections.push(`letter ${letter.id} has no deadline`);
    const sum = formatMinor(letter.amountMinor, letter.currency);
    if (letter.status === 'rejected') objections.push(`${letter.merchant} rejected the dispute of ${sum}`);
    if (letter.status === 'unanswered') objections.push(`${letter.merchant} did not answer the dispute of ${sum}`);
  }
  return objections;
}

/** What an operator reads first about a case that needs a person. */
export function escalationSummary(
  found: Case,
  reasons: readonly string[],
): { readonly subject: string; readonly text: string } {
  const list = reasons.map((reason) => `  - ${reason}`).join('\n');
  const decide = `Decide: dormouse cases decide ${found.id} --accept REASON, or --close REASON.\n`;
  return {
    subject: `${found.id} needs a person`,
    text:
      found.status === 'escalated'
        ? `Case ${found.id} of client ${found.clientId} waits for a person already, and there is more:\n${list}\n\n${decide}`
        : `Case ${found.id} of client ${found.clientId} was in "${found.status}" when it was escalated:\n${list}\n\n${decide}`,
  };
}
