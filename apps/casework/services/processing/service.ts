import { on, service } from '@dormouse/core';
import { findDisputes } from '../../agents/processor/disputes.ts';
import { clientContact, contacts, disputeCase, isOver, isoTime, type Letter, letters, onward } from '../../case.ts';
import type { CaseRequest } from '../../case-request/case-request.ts';
import { complianceReview } from '../../contracts/compliance-review.ts';
import { dataAnalyze } from '../../contracts/data-analyze.ts';
import { documentGenerate } from '../../contracts/document-generate.ts';
import { documentSubmit } from '../../contracts/document-submit.ts';
import { workflowTrack } from '../../contracts/workflow-track.ts';
import { deadlineAfter } from '../../letters/deadline.ts';
import { letterFileName } from '../../letters/file-name.ts';
import { handIn } from '../../letters/hand-in.ts';
import { renderLetter } from '../../letters/letter.ts';
import { settings } from '../../settings.ts';
import type { Finding } from '../../statement/findings.ts';
import type { Statement } from '../../statement/statement.ts';

export default service('processing', [
  on(dataAnalyze, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const statement: Statement = JSON.parse(await step.files.text(data.statement));
    const request: CaseRequest = JSON.parse(await step.files.text(found.data.request));
    const { findings, disputes } = findDisputes(statement);
    const file = await step.files.put('findings.json', JSON.stringify(findings), { personal: true });
    const drafts = disputes.map(({ merchant, amountMinor }, index): Letter => {
      const id = `L${String(index + 1).padStart(2, '0')}`;
      const { replies = {} } = request.sandbox ?? {};
      const sandboxReply = Object.hasOwn(replies, merchant) ? replies[merchant] : undefined;
      return {
        id,
        merchant,
        currency: statement.currency,
        amountMinor,
        status: 'drafted',
        ...(sandboxReply && { sandboxReply }),
      };
    });
    const now = isoTime(step.now);
    found.update({
      ...onward(found.data, drafts.length > 0 ? 'submitting' : 'reviewing'),
      updatedAt: now,
      processing: {
        startedAt: now,
        completedAt: now,
        itemsProcessed: statement.lines.length,
        outputsGenerated: findings.length,
        findings: file,
        currency: statement.currency,
        disputedMinor: findings.reduce((sum, { amountMinor }) => sum + amountMinor, 0),
        letters: drafts.map(({ id }) => id),
      },
    });
    const documents = await step.documents(
      letters,
      drafts.map(({ id }) => id),
    );
    for (const [index, draft] of drafts.entries()) {
      documents[index]!.create(draft);
      step.publish(documentGenerate, { letterId: draft.id, findings: file }, { subject: documents[index]!.ref });
    }
    if (drafts.length === 0) step.publish(complianceReview, {});
    step.note(`${findings.length} wrong charges, ${drafts.length} counterparties`);
  }),

  on(documentGenerate, async ({ data, subject }, step) => {
    const letter = await step.document(letters, data.letterId);
    if (letter.data.status !== 'drafted') return;
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const contact = await step.document(contacts, clientContact);
    const findings: Finding[] = JSON.parse(await step.files.text(data.findings));
    const { accountId }: Statement = JSON.parse(await step.files.text(found.data.data!.statement));
    const { merchant, currency, amountMinor } = letter.data;
    const reference = `${found.id}/${letter.id}`;
    const deadline = deadlineAfter(step.now, settings.responseDeadline);
    const pdf = await renderLetter({
      reference,
      workflowId: found.id,
      date: isoTime(step.now).slice(0, 10),
      deadline,
      client: { name: contact.data.name },
      accountId,
      merchant,
      currency,
      charges: findings.filter((finding) => finding.merchant === merchant),
      totalMinor: amountMinor,
    });
    const file = await step.files.put(letterFileName(reference), pdf, {
      contentType: 'application/pdf',
      personal: true,
    });
    letter.update({ status: 'written', file, deadline });
    step.publish(documentSubmit, { letterId: letter.id, file }, { subject: subject! });
  }),

  on(
    documentSubmit,
    async ({ data, subject }, step) => {
      const letter = await step.document(letters, data.letterId);
      const { status, submissionId } = letter.data;
      if (status === 'drafted' || submissionId) return;
      const found = await step.workflow(disputeCase);
      const reference = `${found.id}/${letter.id}`;
      // On record before the letter goes out: whoever comes here again, after a crash or a cancel, knows that it may be out.
      if (!(await step.run('release', {}, async () => !isOver(found.data.status)))) return;
      const submitted = await step.run('submit', { file: data.file }, async ({ file }, context) =>
        isOver(found.data.status) ? null : handIn(step, found, letter, { file, reference }, context),
      );
      // An answer may have come before we heard that the letter arrived.
      const onTheWay = status === 'written' ? ({ status: 'submitted' } as const) : {};
      if (submitted) letter.update({ ...onTheWay, ...submitted, submittedAt: isoTime(step.now) });
      step.publish(workflowTrack, { letterId: letter.id }, { subject: subject! });
    },
    { retry: { minBackoff: '2s' } },
  ),
]);
