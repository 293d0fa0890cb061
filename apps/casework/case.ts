import { collection, type FileRef, workflow } from '@dormouse/core';

/** What a case goes through, each with its phase. */
const phases = { received: 1, fetching: 2, processing: 3, submitting: 4, tracking: 5, reviewing: 6 } as const;
const finalStatuses = ['closed', 'rejected', 'cancelled'] as const;

/** `escalated` waits for a person. */
export type CaseStatus = keyof typeof phases | 'escalated' | (typeof finalStatuses)[number];

/** The case: one section for each service, each written by that service only. */
export type Case = {
  readonly id: string;
  readonly status: CaseStatus;
  /** 1 intake, 2 data, 3 processing, 4 submission, 5 tracking, 6 review, 7 over. An escalated case keeps where it is. */
  readonly currentPhase: number;
  readonly clientId: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Why it was escalated. Why it was rejected or cancelled is personal: `grounds`. */
  readonly reasons?: readonly string[];
  readonly request: FileRef;
  readonly intake?: { readonly validated: boolean; readonly documentsReceived: boolean; readonly approved: boolean };
  readonly data?: { readonly statement: FileRef; readonly fetchedAt: string };
  readonly processing?: {
    readonly startedAt: string;
    readonly completedAt: string;
    readonly itemsProcessed: number;
    readonly outputsGenerated: number;
    readonly findings: FileRef;
    readonly currency: string;
    readonly disputedMinor: number;
    /** Ids of the letters, one for each counterparty. */
    readonly letters: readonly string[];
  };
  readonly tracking?: { readonly startedAt: string };
  /** What the client was told, and when. */
  readonly communication?: {
    readonly emailed?: Readonly<Record<string, string>>;
    readonly texted?: Readonly<Record<string, string>>;
  };
  readonly admin?: {
    readonly reviewedAt?: string;
    readonly notes?: readonly string[];
    readonly decision?: Decision & { readonly at: string };
    readonly closedAt?: string;
    /** Of the sum disputed, what counterparties accepted. */
    readonly acceptedMinor?: number;
  };
};

/**
 * What a person made of an escalated case. `accept`: its outcome so far is taken as it is; it is reviewed once more, what
 * speaks against it goes on record, and it closes. `close`: it closes without another look.
 */
export type Decision = { readonly kind: 'accept' | 'close'; readonly reason: string };

export const disputeCase = workflow<Case>({ idPrefix: 'WF', client: ({ clientId }) => clientId });

/** One letter to one counterparty, from draft to answer. */
export type Letter = {
  readonly id: string;
  readonly merchant: string;
  readonly currency: string;
  readonly amountMinor: number;
  readonly status: 'drafted' | 'written' | 'submitted' | 'accepted' | 'rejected' | 'unanswered' | 'withdrawn';
  readonly file?: FileRef;
  readonly submissionId?: string;
  readonly submittedAt?: string;
  /** `YYYY-MM-DD`: by when an answer is asked for. */
  readonly deadline?: string;
  readonly reminders?: number;
  readonly answeredAt?: string;
  /** How the sandbox's counterparty is to answer. */
  readonly sandboxReply?: 'accept' | 'reject' | 'silent';
};

export const letters = collection<Letter>('letters');

/** How to reach the client. Personal: it stays out of log, journal and events. */
export interface Contact {
  readonly name: string;
  readonly email: string;
  readonly phone: string;
}

export const contacts = collection<Contact>('contacts', { personal: true });
export const clientContact = 'client';

/** Why a case was rejected or cancelled, a document each. Personal: the words quote what the client wrote, or are his own. */
export const grounds = collection<{ readonly outcome: 'rejected' | 'cancelled'; readonly reasons: readonly string[] }>(
  'grounds',
  { personal: true },
);

/**
 * Where a case goes on to. An escalated one stays so while its work goes on where it can: until a person decides, or it
 * closes after all.
 */
export function onward({ status }: Case, to: keyof typeof phases): Pick<Case, 'status' | 'currentPhase'> {
  return { status: status === 'escalated' ? status : to, currentPhase: phases[to] };
}

/** It does not change any more. */
export function isOver(status: CaseStatus): boolean {
  return (finalStatuses as readonly string[]).includes(status);
}

export function isoTime(now: number): string {
  return new Date(now).toISOString();
}

/** The name of the timer that ends the wait for a letter's answer. */
export function responseTimer(letterId: string): string {
  return `response ${letterId}`;
}
