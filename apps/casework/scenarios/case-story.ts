import { fileURLToPath } from 'node:url';
import type { DeadLetter, Duration, Entry } from '@dormouse/core';
import { Story, type StoryOptions } from '@dormouse/testing';
import type { Case, CaseStatus, Letter } from '../case.ts';
import type { Fault } from '../sandbox/faults.ts';
import type { Summary } from '../sandbox/record.ts';
import { signWebhook } from '../webhook/standard-webhook.ts';
import { doubleCharges } from './double-charges.ts';

const client = { name: 'Ada Example', email: 'ada@client.example', phone: '+4930123456' };
export const operators = 'operators@casework.example';

type Reply = 'accept' | 'reject' | 'silent';
type Told = {
  readonly to: 'client' | 'operators';
  readonly subject: string;
  readonly text: string;
  readonly at: string;
};

/** Casework told as a story: one case at a time, with a letter to each merchant named when it is opened. */
export class CaseStory implements AsyncDisposable {
  readonly story: Story;
  #id = '';
  #answers = 0;

  private constructor(story: Story) {
    this.story = story;
  }

  static async begin(options: Omit<StoryOptions, 'systemFile'> = {}): Promise<CaseStory> {
    const systemFile = fileURLToPath(new URL('../system.ts', import.meta.url));
    return new CaseStory(await Story.start({ systemFile, ...options }));
  }

  get id(): string {
    return this.#id;
  }

  /** A client disputes one double charge at each merchant; the counterparties answer as said, a second after the letter. */
  async open(merchants: Readonly<Record<string, Reply>>, statement?: unknown): Promise<void> {
    const { workflowId } = await this.story.post<{ workflowId: string }>('/api/workflows/create', {
      clientId: 'client-ada',
      client,
      consent: { signedAt: '2025-02-03T09:15:00Z', scopes: ['fetch_statement', 'dispute_on_behalf'] },
      payment: { reference: 'PAY-2025-0041', status: 'paid' },
      documents: [{ kind: 'identity', name: 'passport.pdf' }],
      statement: statement ?? { inline: doubleCharges(Object.keys(merchants)) },
      sandbox: { replies: merchants },
    });
    this.#id = workflowId;
  }

  advance(duration: Duration): Promise<void> {
    return this.story.advance(duration);
  }

  case(): Promise<Case> {
    return this.story.get(`/api/workflows/${this.#id}`);
  }

  async status(): Promise<CaseStatus> {
    return (await this.case()).status;
  }

  async letters(): Promise<Letter[]> {
    const { documents } = await this.story.get<{ documents: Letter[] }>(`/api/workflows/${this.#id}/documents/letters`);
    return documents.toSorted((one, other) => one.id.localeCompare(other.id));
  }

  /** Why it was rejected or cancelled. */
  async grounds(): Promise<unknown[]> {
    return (await this.story.get<{ documents: unknown[] }>(`/api/workflows/${this.#id}/documents/grounds`)).documents;
  }

  async letter(merchant: string): Promise<Letter> {
    return (await this.letters()).find((letter) => letter.merchant === merchant)!;
  }

  /** The trace as lines: `admin → communication notify.client done`. */
  async trace(): Promise<string[]> {
    const { rows } = await this.story.trace(this.#id);
    return rows.map(({ from, to, topic, status, note }) =>
      [from, '→', to, topic, status, ...(note === undefined ? [] : [`(${note})`])].join(' '),
    );
  }

  async pendingTimers(): Promise<{ name: string; due: string }[]> {
    const { pendingTimers } = await this.story.trace(this.#id);
    return pendingTimers.map(({ name, dueAt }) => ({ name, due: new Date(dueAt).toISOString() }));
  }

  /** Mails about this case, oldest first. */
  async mails(): Promise<Told[]> {
    const { items } = await this.outside();
    return items.flatMap((item) =>
      item.kind === 'mail'
        ? [{ to: item.to[0] === operators ? ('operators' as const) : ('client' as const), ...said(item) }]
        : [],
    );
  }

  /** Subjects of what the client was mailed, oldest first, without the id of the case. */
  async clientWasTold(): Promise<string[]> {
    const mails = await this.mails();
    return mails.filter(({ to }) => to === 'client').map(({ subject }) => subject.replace(` (${this.#id})`, ''));
  }

  async operatorsWereTold(): Promise<string[]> {
    const mails = await this.mails();
    return mails.filter(({ to }) => to === 'operators').map(({ subject }) => subject);
  }

  /** What the outside world was given on behalf of this case, oldest first. */
  async outside(): Promise<Summary> {
    const response = await this.story.fetch(`/sandbox/api/records?workflow=${this.#id}`);
    const summary = (await response.json()) as Summary;
    return { ...summary, items: summary.items.toReversed() };
  }

  /** References of what a merchant was handed in, oldest first: `L01`, `L01 reminder 1`. */
  async handedInAt(merchant: string): Promise<string[]> {
    const { items } = await this.outside();
    return items.flatMap((item) =>
      item.kind === 'submission' && item.merchant === merchant ? [item.reference.replace(`${this.#id}/`, '')] : [],
    );
  }

  /** How often a merchant was told that its letter is withdrawn. */
  async withdrawnAt(merchant: string): Promise<number> {
    const { items } = await this.outside();
    return items.filter((item) => item.kind === 'withdrawal' && item.merchant === merchant).length;
  }

  /** The entries of log and journal. */
  async log(): Promise<readonly Entry[]> {
    return (await this.story.get<{ events: Entry[] }>(`/api/workflows/${this.#id}/events`)).events;
  }

  /** All of them, the first to die first. */
  async deadLetters(): Promise<DeadLetter[]> {
    const { deadLetters } = await this.story.get<{ deadLetters: DeadLetter[] }>('/api/dead-letters');
    return deadLetters.toReversed();
  }

  async redrive(deadLetterId: string): Promise<void> {
    await this.story.post(`/api/dead-letters/${deadLetterId}/redrive`, {});
  }

  async fault(fault: Fault): Promise<void> {
    const response = await this.story.fetch('/sandbox/faults', { method: 'PUT', body: JSON.stringify(fault) });
    if (!response.ok) throw new Error(`the fault was not taken: ${await response.text()}`);
  }

  /** Takes all faults back. */
  async mend(): Promise<void> {
    await this.story.fetch('/sandbox/faults', { method: 'DELETE' });
  }

  /** A counterparty's own webhook, signed by it. The answer of the console. */
  async answer(
    letterId: string,
    decision: 'accepted' | 'rejected',
    { webhookId = `msg_story_${++this.#answers}`, secret = process.env.CASEWORK_WEBHOOK_SECRET! } = {},
  ): Promise<{ readonly status: number; readonly detail: string }> {
    const timestamp = new Date(this.story.now).toISOString();
    const data = { workflowId: this.#id, letterId, decision };
    const body = JSON.stringify({ type: 'dispute.answered', timestamp, data });
    const headers = { ...signWebhook({ id: webhookId, at: this.story.now, body, secret }) };
    // By the port, as from outside: a webhook carries no token.
    const response = await fetch(`${this.story.url}/api/responses`, { method: 'POST', headers, body });
    await this.story.settle();
    return { status: response.status, detail: await response.text() };
  }

  /** A token of someone else than the administrator who speaks otherwise. */
  async token(of: { role: 'client' | 'operator'; tenant?: string; expires?: Duration }): Promise<string> {
    return (await this.story.post<{ token: string }>('/api/tokens', of)).token;
  }

  /** A command about this case. The answer of the console. */
  async ask(
    command: 'cancel' | 'decision',
    body: unknown,
    token?: string,
  ): Promise<{ status: number; detail: string }> {
    const response = await this.story.fetch(`/api/workflows/${this.#id}/${command}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
      body: JSON.stringify(body),
    });
    const { detail = '' } = (await response.json()) as { detail?: string };
    await this.story.settle();
    return { status: response.status, detail };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.story[Symbol.asyncDispose]();
  }
}

function said({ subject, text, at }: { subject: string; text: string; at: string }) {
  return { subject, text, at };
}
