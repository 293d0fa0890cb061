import { type Document, on, type Step, service } from '@dormouse/core';
import { type Case, disputeCase, isOver, isoTime, type Letter, letters, onward, responseTimer } from '../../case.ts';
import { complianceReview } from '../../contracts/compliance-review.ts';
import { notifyClient } from '../../contracts/notify-client.ts';
import { responseReceived } from '../../contracts/response-received.ts';
import { workflowFollowup } from '../../contracts/workflow-followup.ts';
import { workflowTrack } from '../../contracts/workflow-track.ts';
import { deadlineAfter } from '../../letters/deadline.ts';
import { handIn } from '../../letters/hand-in.ts';
import { withdrawLetter } from '../../outside/counterparty.ts';
import { decided } from '../../outside/decided.ts';
import { settings } from '../../settings.ts';

export default service('tracking', [
  on(workflowTrack, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    const letter = await step.document(letters, data.letterId);
    if (found.data.status === 'cancelled') return withdraw(step, found, letter);
    if (isOver(found.data.status) || letter.data.status !== 'submitted') return;
    awaitAnswer(step, letter, 1);
    beginTracking(step, found);
  }),

  on(responseReceived, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    const letter = await step.document(letters, data.letterId);
    if (isAnswered(letter.data)) {
      step.note(`${data.decision}, but answered before: ${letter.data.status} stands`);
      return;
    }
    if (isOver(found.data.status)) {
      step.note(`${data.decision}, but the case is ${found.data.status}: nothing changes`);
      return;
    }
    if (letter.data.status === 'drafted') {
      step.note(`${data.decision}, but there is no such letter yet: nothing changes`);
      return;
    }
    // Also where we have not heard that the letter arrived: an answer proves it.
    letter.update({ status: data.decision, answeredAt: data.answeredAt });
    await step.cancelTimer(responseTimer(letter.id));
    beginTracking(step, found);
    await reviewWhenComplete(step, found);
  }),

  on(workflowFollowup, async ({ data }, step) => {
    const found = await step.workflow(disputeCase);
    const letter = await step.document(letters, data.letterId);
    if (isOver(found.data.status) || letter.data.status !== 'submitted') return;
    if (data.reminder > settings.reminders) {
      letter.update({ status: 'unanswered' });
      await reviewWhenComplete(step, found);
      return;
    }
    const file = letter.data.file!;
    const reference = `${found.id}/${letter.id} reminder ${data.reminder}`;
    await step.run('remind', { file, reminder: data.reminder }, (_input, context) =>
      handIn(step, found, letter, { file, reference }, context),
    );
    const deadline = deadlineAfter(step.now, settings.responseDeadline);
    letter.update({ reminders: data.reminder, deadline });
    awaitAnswer(step, letter, data.reminder + 1);
  }),
]);

/** The first letter to be tracked speaks for the case; so does an answer that is faster than all of them. */
function beginTracking(step: Step, found: Document<Case>): void {
  if (found.data.tracking) return;
  const startedAt = isoTime(step.now);
  found.update({ ...onward(found.data, 'tracking'), tracking: { startedAt }, updatedAt: startedAt });
  step.publish(notifyClient, { about: 'submitted' });
}

function awaitAnswer(step: Step, letter: Document<Letter>, reminder: number): void {
  step.publish(
    workflowFollowup,
    { letterId: letter.id, reminder },
    { after: settings.responseDeadline, timer: responseTimer(letter.id) },
  );
}

/** Tells a counterparty that the client does not pursue it. */
async function withdraw(step: Step, found: Document<Case>, letter: Document<Letter>): Promise<void> {
  if (isAnswered(letter.data) || letter.data.status === 'withdrawn') return;
  const { merchant } = letter.data;
  const known = await step.run('withdraw', { merchant }, ({ merchant }, { signal, clock }) => {
    const withdrawal = { merchant, workflowId: found.id, letterId: letter.id };
    // Of the letter, not of this event: two may be on their way.
    const idempotencyKey = `${found.id}/${letter.id} withdrawal`;
    return decided(withdrawLetter({ url: settings.counterpartyUrl }, withdrawal, { idempotencyKey, signal, clock }));
  });
  if (!known) step.note('the counterparty never had it');
  letter.update({ status: 'withdrawn' });
}

/** When the last letter is answered or given up on, the case goes to review. Again, where a late answer came. */
async function reviewWhenComplete(step: Step, found: Document<Case>): Promise<void> {
  const all = await step.documents(letters, found.data.processing!.letters);
  if (!all.every(({ data }) => isAnswered(data) || data.status === 'unanswered')) return;
  found.update({ ...onward(found.data, 'reviewing'), updatedAt: isoTime(step.now) });
  step.publish(complianceReview, {});
}

function isAnswered({ status }: Letter): boolean {
  return status === 'accepted' || status === 'rejected';
}
