import type { Clock } from '@dormouse/core';
import { callOutside, OutsideError } from './http.ts';

export interface CounterpartyConfig {
  /** Where letters are handed in: `https://disputes.example`. */
  readonly url: string;
}

export interface LetterSubmission {
  readonly pdf: Uint8Array;
  readonly merchant: string;
  readonly reference: string;
  readonly workflowId: string;
  readonly letterId: string;
  /** The sum disputed. */
  readonly amountMinor: number;
  readonly currency: string;
  /** How a counterparty of the sandbox is to answer. Counterparties elsewhere do not heed it. */
  readonly reply?: 'accept' | 'reject' | 'silent' | undefined;
}

/**
 * Hands a letter in at its counterparty. The letter is the body; what identifies it goes along as query parameters,
 * which carry any merchant's name. Handing in twice with one idempotency key is handing in once.
 * At most 30 s. Fails with an OutsideError.
 */
export async function submitLetter(
  config: CounterpartyConfig,
  { pdf, amountMinor, reply, ...letter }: LetterSubmission,
  {
    idempotencyKey,
    signal,
    clock,
  }: { readonly idempotencyKey: string; readonly signal?: AbortSignal; readonly clock?: Clock },
): Promise<{ submissionId: string }> {
  const url = new URL('/counterparties/submissions', config.url);
  const fields = { ...letter, amountMinor: String(amountMinor), ...(reply === undefined ? {} : { reply }) };
  url.search = new URLSearchParams(fields).toString();
  const answer = await callOutside({
    name: 'counterparty',
    method: 'POST',
    url,
    headers: { 'content-type': 'application/pdf', accept: 'application/json', 'idempotency-key': idempotencyKey },
    body: pdf,
    timeoutMs: 30_000,
    maxBytes: 100_000,
    signal,
    clock,
  });
  return { submissionId: submissionIdOf(answer, url.origin) };
}

export interface LetterWithdrawal {
  readonly merchant: string;
  readonly workflowId: string;
  readonly letterId: string;
}

/**
 * Tells a counterparty that a letter and its reminders are withdrawn; repeating it changes nothing. False where it never
 * had the letter. At most 30 s. Fails with an OutsideError.
 */
export async function withdrawLetter(
  config: CounterpartyConfig,
  { merchant, workflowId, letterId }: LetterWithdrawal,
  {
    idempotencyKey,
    signal,
    clock,
  }: { readonly idempotencyKey: string; readonly signal?: AbortSignal; readonly clock?: Clock },
): Promise<boolean> {
  const url = new URL('/counterparties/withdrawals', config.url);
  url.search = new URLSearchParams({ workflowId, letterId, merchant }).toString();
  try {
    const headers = { accept: 'application/json', 'idempotency-key': idempotencyKey };
    const limits = { timeoutMs: 30_000, maxBytes: 100_000, signal, clock };
    await callOutside({ name: 'counterparty', method: 'POST', url, headers, ...limits });
    return true;
  } catch (error) {
    if (error instanceof OutsideError && error.status === 404) return false;
    throw error;
  }
}

function submissionIdOf(answer: string, origin: string): string {
  const submissionId = parsed(answer)?.submissionId;
  if (typeof submissionId === 'string' && submissionId !== '') return submissionId;
  const message = `counterparty at ${origin} answered without a submissionId in JSON; try again later`;
  throw new OutsideError(message, { permanent: false });
}

/** Undefined for what is not JSON: the parser's error would quote the answer. */
function parsed(answer: string): { submissionId?: unknown } | null | undefined {
  try {
    return JSON.parse(answer);
  } catch {
    return undefined;
  }
}
