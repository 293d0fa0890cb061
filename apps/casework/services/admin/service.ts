import { idOf, on, type Step, service, workflowOf } from '@dormouse/core';
import * as z from 'zod';
import { complianceObjections, escalationSummary } from '../../agents/admin/review.ts';
import { disputeCase, isOver, isoTime, letters, responseTimer } from '../../case.ts';
import type { CaseRequest } from '../../case-request/case-request.ts';
import { complianceReview } from '../../contracts/compliance-review.ts';
import { deadLetter } from '../../contracts/dead-letter.ts';
import { notifyAdmin } from '../../contracts/notify-admin.ts';
import { notifyClient } from '../../contracts/notify-client.ts';
import { retryFailed } from '../../contracts/retry-failed.ts';
import { workflowCancel } from '../../contracts/workflow-cancel.ts';
import { workflowComplete } from '../../contracts/workflow-complete.ts';
import { workflowEscalate } from '../../contracts/workflow-escalate.ts';
import type { Finding } from '../../statement/findings.ts';

export default service('admin', [
  on(complianceReview, async (_event, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const processing = found.data.processing!;
    const request: CaseRequest = JSON.parse(await step.files.text(found.data.request));
    const findings: Finding[] = JSON.parse(await step.files.text(processing.findings));
    const own = (await step.documents(letters, processing.letters)).map(({ data }) => data);
    const objections = complianceObjections(found.data, request, own, findings);
    found.update({ admin: { reviewedAt: isoTime(step.now), notes: objections }, updatedAt: isoTime(step.now) });
    if (objections.length === 0) step.publish(workflowComplete, {});
    else step.publish(workflowEscalate, { reasons: objections });
  }),

  on(workflowComplete, async (_event, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const closedAt = isoTime(step.now);
    found.update({ status: 'closed', currentPhase: 7, admin: { ...found.data.admin, closedAt }, updatedAt: closedAt });
    step.publish(notifyClient, { about: 'closed' });
  }),

  on(workflowEscalate, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const { subject, text } = escalationSummary(found.data, data.reasons);
    await cancelTimers(step, found.data.processing?.letters);
    found.update({ status: 'escalated', currentPhase: 7, reasons: data.reasons, updatedAt: isoTime(step.now) });
    step.publish(notifyClient, { about: 'escalated' });
    step.publish(notifyAdmin, { subject, text });
  }),

  on(workflowCancel, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    await cancelTimers(step, found.data.processing?.letters);
    found.update({ status: 'cancelled', currentPhase: 7, reasons: [data.reason], updatedAt: isoTime(step.now) });
    step.publish(notifyClient, { about: 'cancelled' });
  }),

  on(deadLetter, async ({ data, subject }, step) => {
    const letter = ourDeadLetter.safeParse(data);
    if (!letter.success) {
      step.publish(notifyAdmin, {
        subject: 'a message died on the wire',
        text: 'It reached dead.letter without a record of ours: no handler could commit what became of it.',
      });
      return;
    }
    const { topic, subscription, cause, attempts, id } = letter.data;
    // What dies in notify.admin is on record and in the log; a notice about it would die the same way.
    if (topic === notifyAdmin.name) return;
    const workflow = workflowOf(subject ?? '');
    step.publish(notifyAdmin, {
      subject: `dead letter ${id}`,
      text: `"${topic}" died in ${subscription} after ${attempts} attempts${workflow ? ` for ${idOf(workflow)}` : ''}: ${cause}`,
    });
    // A client who could not be told does not stop the case; anything else does, but an escalation that failed itself.
    if (workflow && topic !== notifyClient.name && topic !== workflowEscalate.name) {
      step.publish(
        workflowEscalate,
        { reasons: [`${topic} failed ${attempts} times: ${cause}`] },
        { subject: workflow },
      );
    }
  }),

  on(retryFailed, ({ data }, step) => step.redrive(data.deadLetterId)),
]);

const ourDeadLetter = z.object({
  id: z.string(),
  topic: z.string(),
  subscription: z.string(),
  cause: z.string(),
  attempts: z.number(),
});

async function cancelTimers(step: Step, letterIds: readonly string[] = []): Promise<void> {
  for (const id of letterIds) await step.cancelTimer(responseTimer(id));
}
