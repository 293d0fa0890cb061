import type { Clock } from '@dormouse/core';
import { callOutside } from '../outside/http.ts';
import { signWebhook } from '../webhook/standard-webhook.ts';
import type { AnswerEffect, Entry, SandboxRecord, SubmissionEffect } from './record.ts';

interface WebhookTarget {
  readonly url: string;
  /** `whsec_…` */
  readonly secret: string;
}

type Letter = Pick<SubmissionEffect, 'workflowId' | 'letterId'>;

/** A submission that is still to be answered. */
interface Pending {
  readonly submission: SubmissionEffect;
  /** Epoch ms. */
  readonly dueAt: number;
  attempts: number;
  lastError?: string;
}

const firstBackoffMs = 500;
const maxBackoffMs = 30_000;

/**
 * The counterparties' answers: each submission is answered by signed webhook some time after it came, again and again
 * until the webhook is taken, also over restarts. All attempts for one submission have the same id and body.
 * Repeated with doubling pauses of 0.5 s to 30 s; there is no last attempt.
 */
export class Answers {
  readonly #webhook: WebhookTarget;
  readonly #replyAfterMs: number;
  readonly #clock: Clock;
  readonly #pending = new Map<string, Pending>();
  /** `<workflow>/<letter>` of all that was handed in. */
  readonly #letters = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #answering = 0;

  constructor(options: { webhook: WebhookTarget; replyAfterMs: number; clock: Clock }) {
    this.#webhook = options.webhook;
    this.#replyAfterMs = options.replyAfterMs;
    this.#clock = options.clock;
  }

  /** Takes in an entry of the record as it is read: what is left pending at its end is answered from `start` on. */
  restore(entry: Entry): void {
    if ('repeat' in entry) return;
    if (entry.kind === 'submission') this.#expect(entry, Date.parse(entry.at));
    if (entry.kind === 'answer') this.#pending.delete(entry.submissionId);
    if (entry.kind === 'withdrawal') this.withdraw(entry);
  }

  start(record: SandboxRecord): void {
    for (const pending of this.#pending.values()) this.#run(pending, record);
  }

  /** Answers a submission that has just come. */
  add(submission: SubmissionEffect, record: SandboxRecord): void {
    const pending = this.#expect(submission, this.#clock.now());
    if (pending) this.#run(pending, record);
  }

  /** Whether the counterparty has that letter. */
  knows({ workflowId, letterId }: Letter): boolean {
    return this.#letters.has(`${workflowId}/${letterId}`);
  }

  /** It is answered no more, unless the answer is on its way. */
  withdraw({ workflowId, letterId }: Letter): void {
    for (const { submission } of this.#pending.values()) {
      if (submission.workflowId === workflowId && submission.letterId === letterId)
        this.#pending.delete(submission.submissionId);
    }
  }

  pending(): readonly { submissionId: string; workflowId: string; attempts: number; lastError?: string }[] {
    return [...this.#pending.values()].map(({ submission, attempts, lastError }) => ({
      submissionId: submission.submissionId,
      workflowId: submission.workflowId,
      attempts,
      ...(lastError === undefined ? {} : { lastError }),
    }));
  }

  /** Answers on their way, rather than waiting for their time. */
  get answering(): number {
    return this.#answering;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#running);
  }

  #expect(submission: SubmissionEffect, at: number): Pending | undefined {
    this.#letters.add(`${submission.workflowId}/${submission.letterId}`);
    if (submission.reply === 'silent') return undefined;
    const pending: Pending = { submission, dueAt: at + this.#replyAfterMs, attempts: 0 };
    this.#pending.set(submission.submissionId, pending);
    return pending;
  }

  #run(pending: Pending, record: SandboxRecord): void {
    const running = this.#answer(pending, record).catch((error: Error) => {
      // Closing leaves it pending, and so does a record that cannot be written: the next start answers it.
      if (!this.#closing.signal.aborted) pending.lastError = error.message;
    });
    this.#running.add(running);
    void running.then(() => this.#running.delete(running));
  }

  async #answer(pending: Pending, record: SandboxRecord): Promise<void> {
    const answer = answerTo(pending.submission);
    const id = `msg_${answer.submissionId}`;
    const { kind: _kind, submissionId: _submissionId, ...data } = answer;
    const timestamp = new Date(pending.dueAt).toISOString();
    const body = JSON.stringify({ type: 'dispute.answered', timestamp, data });
    // Never longer than it ever takes, also where the clock was set back.
    for (let waitMs = Math.min(pending.dueAt - this.#clock.now(), this.#replyAfterMs); ; ) {
      await this.#pause(waitMs);
      if (!this.#pending.has(answer.submissionId)) return;
      this.#answering += 1;
      try {
        if (await this.#deliver(pending, id, body)) {
          await record.capture(answer, id);
          this.#pending.delete(answer.submissionId);
          return;
        }
      } finally {
        this.#answering -= 1;
      }
      const backoffMs = firstBackoffMs * 2 ** Math.min(pending.attempts - 1, 10);
      waitMs = Math.min(backoffMs, maxBackoffMs);
    }
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#closing;
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = () => reject(signal.reason);
    const cancel = this.#clock.after(ms, resolve);
    signal.addEventListener('abort', abort);
    try {
      await promise;
    } finally {
      cancel();
      signal.removeEventListener('abort', abort);
    }
  }

  async #deliver(pending: Pending, id: string, body: string): Promise<boolean> {
    const { url, secret } = this.#webhook;
    pending.attempts += 1;
    try {
      await callOutside({
        name: 'webhook',
        method: 'POST',
        url: new URL(url),
        headers: { 'content-type': 'application/json', ...signWebhook({ id, at: this.#clock.now(), body, secret }) },
        body,
        timeoutMs: 15_000,
        maxBytes: 100_000,
        signal: this.#closing.signal,
        clock: this.#clock,
      });
      return true;
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      pending.lastError = (error as Error).message;
      return false;
    }
  }
}

function answerTo(submission: SubmissionEffect): AnswerEffect {
  const { submissionId, workflowId, letterId, reference, merchant, amountMinor, currency, reply } = submission;
  const decision = reply === 'reject' ? 'rejected' : 'accepted';
  return { kind: 'answer', submissionId, workflowId, letterId, reference, merchant, decision, amountMinor, currency };
}
