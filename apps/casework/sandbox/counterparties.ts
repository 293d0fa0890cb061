import { createHash } from 'node:crypto';
import { currencyExponent } from '../statement/currency.ts';
import { type Asked, json, problem, type Route } from './http-server.ts';
import type { SandboxRecord, SubmissionEffect } from './record.ts';

type Letter = Pick<SubmissionEffect, 'workflowId' | 'letterId'>;

const replies = ['accept', 'reject', 'silent'] as const;

/**
 * The counterparties' interface, one for all of them: takes a letter (PDF) with query parameters that identify it, and
 * says 202 with a submission id. `reply` says how the counterparty is to answer later; by default it accepts.
 * The same letter under the same `Idempotency-Key` is taken once and answered alike, another one is refused with 422.
 */
export function counterpartiesRoute(
  record: SandboxRecord,
  onSubmission: (submission: SubmissionEffect) => void,
): Route {
  return {
    target: 'counterparties',
    method: 'POST',
    path: /^\/counterparties\/submissions$/,
    maxBytes: 10_000_000,
    async answer(asked) {
      const key = asked.headers['idempotency-key'];
      const problems = problemsOf(asked);
      if (typeof key !== 'string' || problems.length > 0) return problem(400, 'Bad request', problems.join('; '));
      const submission = submissionOf(asked, key);
      const captured = await record.capture(submission, key);
      if (captured === 'conflict') {
        return problem(422, 'Key in use', 'This Idempotency-Key was used for another letter: use a new one');
      }
      if (captured === 'first') onSubmission(submission);
      return json(202, { submissionId: submission.submissionId });
    },
  };
}

/** Takes the withdrawal of a letter, which is not answered any more then; 404 where it was never handed in. */
export function withdrawalsRoute(
  record: SandboxRecord,
  { knows, onWithdrawal }: { knows: (letter: Letter) => boolean; onWithdrawal: (letter: Letter) => void },
): Route {
  return {
    target: 'counterparties',
    method: 'POST',
    path: /^\/counterparties\/withdrawals$/,
    maxBytes: 0,
    async answer({ url, headers }) {
      const key = headers['idempotency-key'];
      const [workflowId, letterId, merchant] = ['workflowId', 'letterId', 'merchant'].map((name) =>
        url.searchParams.get(name),
      );
      if (typeof key !== 'string' || !workflowId || !letterId || !merchant) {
        const detail = 'Header Idempotency-Key and query parameters workflowId, letterId and merchant are needed';
        return problem(400, 'Bad request', detail);
      }
      const withdrawal = { kind: 'withdrawal', workflowId, letterId, merchant } as const;
      if (!knows(withdrawal))
        return problem(404, 'Unknown letter', `No letter ${letterId} of ${workflowId} was handed in`);
      if ((await record.capture(withdrawal, key)) === 'conflict') {
        return problem(422, 'Key in use', 'This Idempotency-Key was used for another letter: use a new one');
      }
      onWithdrawal(withdrawal);
      return json(202, { withdrawn: true });
    },
  };
}

function problemsOf({ url, headers, body }: Asked): string[] {
  const problems: string[] = [];
  const query = url.searchParams;
  if (!headers['idempotency-key']) problems.push('header Idempotency-Key is missing');
  for (const name of ['workflowId', 'letterId', 'reference', 'merchant']) {
    if (!query.get(name)) problems.push(`query parameter ${name} is missing`);
  }
  if (currencyExponent(query.get('currency') ?? '') === undefined) {
    problems.push('query parameter currency must be an ISO 4217 code');
  }
  if (!/^\d{1,15}$/.test(query.get('amountMinor') ?? '')) problems.push('query parameter amountMinor must be a number');
  if (!replies.some((reply) => reply === replyIn(query))) {
    problems.push(`query parameter reply must be one of ${replies.join(', ')}`);
  }
  if (headers['content-type'] !== 'application/pdf' || body.subarray(0, 5).toString('latin1') !== '%PDF-') {
    problems.push('the body must be a PDF with Content-Type application/pdf');
  }
  return problems;
}

function submissionOf({ url, body }: Asked, key: string): SubmissionEffect {
  const query = url.searchParams;
  const text = (name: string): string => query.get(name)!;
  return {
    kind: 'submission',
    submissionId: `sub_${createHash('sha256').update(key).digest('hex').slice(0, 16)}`,
    workflowId: text('workflowId'),
    letterId: text('letterId'),
    reference: text('reference'),
    merchant: text('merchant'),
    amountMinor: Number(text('amountMinor')),
    currency: text('currency'),
    reply: replyIn(query) as SubmissionEffect['reply'],
    bytes: body.length,
    sha256: createHash('sha256').update(body).digest('hex'),
  };
}

function replyIn(query: URLSearchParams): string {
  return query.get('reply') ?? 'accept';
}
