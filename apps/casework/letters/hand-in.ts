import type { ActivityContext, Document, FileRef, Step } from '@dormouse/core';
import type { Case, Letter } from '../case.ts';
import { submitLetter } from '../outside/counterparty.ts';
import { decided } from '../outside/decided.ts';
import { settings } from '../settings.ts';

/** Hands a written letter in at its counterparty, the first time or as a reminder; the reference tells which. */
export async function handIn(
  { files }: Step,
  { id: workflowId }: Document<Case>,
  letter: Document<Letter>,
  { file, reference }: { readonly file: FileRef; readonly reference: string },
  context: ActivityContext,
): Promise<{ submissionId: string }> {
  const { merchant, amountMinor, currency, sandboxReply: reply } = letter.data;
  const pdf = await files.read(file);
  const submission = { pdf, merchant, reference, workflowId, letterId: letter.id, amountMinor, currency, reply };
  return decided(submitLetter({ url: settings.counterpartyUrl }, submission, context));
}
