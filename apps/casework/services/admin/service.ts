import { type Document, idOf, on, type Step, service, workflowOf } from '@dormouse/core';
import * as z from 'zod';
import { complianceObjections, escalationSummary } from '../../agents/admin/review.ts';
import { type Case, disputeCase, isOver, isoTime, type Letter, letters, responseTimer } from '../../case.ts';
import type { CaseRequest } from '../../case-request/case-request.ts';
import { complianceReview } from '../../contracts/compliance-review.ts';
import { deadLetter } from '../../contracts/dead-letter.ts';
import { notifyAdmin } from '../../contracts/notify-admin.ts';
import { notifyClient } from '../../contracts/notify-client.ts';
import { retryFailed } from '../../contracts/retry-failed.ts';
import { workflowCancel } from '../../contracts/workflow-cancel.ts';
import { workflowComplete } from '../../contracts/workflow-complete.ts';
import { workflowEscalate } from '../../contracts/workflow-escalate.ts';
import { workflowTrack } from '../../contracts/workflow-track.ts';
import type { Finding } from '../../statement/findings.ts';

export default service('admin', [
  on(complianceReview, async (_event, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const { processing, admin, reasons } = found.data;
    const request: CaseRequest = JSON.parse(await step.files.text(found.data.request));
    const findings: Finding[] = processing ? JSON.parse(await step.files.text(processing.findings)) : [];
    const objections = complianceObjections(found.data, request, await lettersOf(found, step), findings);
    const now = isoTime(step.now);
    // What the review before held against it counts no more; where nothing does, nor does what went wrong on the way.
    const still = objections.length === 0 ? [] : (reasons ?? []).filter((reason) => !admin?.notes?.includes(reason));
    found.update({
      admin: { ...admin, reviewedAt: now, notes: objections },
      ...(reasons && { reasons: still }),
      updatedAt: now,
    });
    // Of an outcome that a person accepted, the objections are on record, and answered.
    if (objections.length === 0 || admin?.decision) step.publish(workflowComplete, {});
    else step.publish(workflowEscalate, { reasons: objections });
  }),

  on(workflowComplete, async ({ data: { decision } }, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const now = isoTime(step.now);
    const admin = { ...found.data.admin, ...(decision && { decision: { ...decision, at: now } }) };
    await cancelTimers(step, found.data.processing?.letters);
    if (decision?.kind === 'accept') {
      found.update({ status: 'reviewing', currentPhase: 6, admin, updatedAt: now });
      step.publish(complianceReview, {});
      return;
    }
    const accepted = (await lettersOf(found, step)).filter(({ status }) => status === 'accepted');
    const acceptedMinor = accepted.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
    found.update({
      status: 'closed',
      currentPhase: 7,
      admin: { ...admin, closedAt: now, acceptedMinor },
      updatedAt: now,
    });
    step.publish(notifyClient, { about: 'closed' });
  }),

  on(workflowEscalate, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) return;
    const { subject, text } = escalationSummary(found.data, data.reasons);
    const reasons = [...new Set([...(found.data.reasons ?? []), ...data.reasons])];
    // Of several reasons at once, the client hears but the first.
    if (found.data.status !== 'escalated') step.publish(notifyClient, { about: 'escalated' });
    found.update({ status: 'escalated', reasons, updatedAt: isoTime(step.now) });
    step.publish(notifyAdmin, { subject, text });
  }),

  on(workflowCancel, async (_event, step) => {
    const found = await step.workflow(disputeCase);
    if (isOver(found.data.status)) {
      step.note(`the case is ${found.data.status} already`);
      return;
    }
    const letterIds = found.data.processing?.letters ?? [];
    await cancelTimers(step, letterIds);
    for (const letter of await step.documents(letters, letterIds)) {
      // Whoever has a letter of ours without having answered it is told.
      if (letter.data.status === 'submitted' || letter.data.status === 'unanswered')
        step.publish(workflowTrack, { letterId: letter.id }, { subject: letter.ref });
    }
    found.update({ status: 'cancelled', currentPhase: 7, updatedAt: isoTime(step.now) });
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
      text: `"${topic}" died in ${subscription} after ${attempts} attempts${workflow ? ` for ${idOf(workflow)}` : ''}: ${cause}\n\nSend it back, when the cause is mended: dormouse dead-letters redrive ${id}\n`,
    });
    // A client who could not be told does not stop the case; anything else does, but an escalation that failed itself.
    if (workflow && topic !== notifyClient.name && topic !== workflowEscalate.name) {
      step.publish(
        workflowEscalate,
        // The client reads this too, and why it failed may name what is inside.
        { reasons: [`${topic} failed ${attempts} times; dead letter ${id} tells why`] },
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

async function lettersOf(found: Document<Case>, step: Step): Promise<Letter[]> {
  return (await step.documents(letters, found.data.processing?.letters ?? [])).map(({ data }) => data);
}

async function cancelTimers(step: Step, letterIds: readonly string[] = []): Promise<void> {
  for (const id of letterIds) await step.cancelTimer(responseTimer(id));
}
