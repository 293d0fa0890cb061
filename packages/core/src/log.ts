import { sha256 } from './ids.ts';
import type { PatchOperation } from './patch.ts';
import { serviceOf } from './service.ts';
import { auditLog } from './system-topics.ts';

/** Why a unit was committed: the event a subscription handled, or the command an actor gave. */
export type Cause =
  | {
      readonly kind: 'event';
      readonly id: string;
      readonly topic: string;
      readonly subscription: string;
      readonly attempt: number;
      readonly from: string;
    }
  | {
      readonly kind: 'command';
      readonly id: string;
      readonly command: string;
      readonly actor: string;
      readonly from: string;
    };

export interface PublishedEvent {
  readonly id: string;
  readonly topic: string;
  readonly subject: string | undefined;
  /** Events hold no personal data, so the log may. */
  readonly data: unknown;
  /** A timer holds it until then. */
  readonly dueAt?: number;
  readonly timer?: string;
}

/** Who acted, in one word: the service of a subscription, or who speaks through a command. */
export function actorOf(cause: Cause): string {
  return cause.kind === 'command' ? cause.from : serviceOf(cause.subscription);
}

/** Whether a unit handled an event of the log itself. */
export function isOfLog(cause: Cause): boolean {
  return cause.kind === 'event' && cause.topic === auditLog.name;
}

/** What a unit of work did to one document and, in the entry of its own subject, what it published. */
export interface EntryDraft {
  /** The document whose chain it joins. */
  readonly chain: string;
  /** Id of the unit of work: entries of one unit share it. */
  readonly unit: string;
  readonly cause: Cause;
  /** RFC 6902, from the document before to the document after. */
  readonly changes: readonly PatchOperation[];
  readonly published: readonly PublishedEvent[];
  readonly cancelledTimers: readonly string[];
  readonly note?: string;
  readonly startedAt: number;
  readonly durationMs: number;
}

/** What happened on the way that changed nothing: a failed attempt and what was decided about it. Not chained. */
export interface JournalDraft {
  readonly workflow: string | undefined;
  readonly moment: 'attempt.failed' | 'event.deferred';
  /** The delivery's memory: while it waits, this entry is kept. */
  readonly inbox: string;
  readonly unit: string;
  readonly cause: Cause;
  readonly error: { readonly code: string; readonly message: string };
  readonly decision:
    | { readonly kind: 'retry'; readonly at: number }
    | { readonly kind: 'defer'; readonly until: number }
    | { readonly kind: 'dead-letter'; readonly id: string };
  /** What announces it: the event of a dead letter. */
  readonly published: readonly PublishedEvent[];
  readonly startedAt: number;
  readonly durationMs: number;
}

/** One line of a workflow's history. The cursor is opaque: a `LogQuery` goes on after it. */
export type Entry = { readonly cursor: string; readonly at: number } & (
  | { readonly kind: 'log'; readonly seq: number; readonly hash: string; readonly entry: EntryDraft }
  | { readonly kind: 'journal'; readonly entry: JournalDraft }
);

export const firstHash = '0'.repeat(64);

/** The hash that chains an entry to the one before it: SHA-256 over the hash before, the number and the entry's JSON. */
export function chainHash(previous: string, seq: number, at: number, entryJson: string): string {
  return sha256(`${previous}\n${seq}\n${at}\n${entryJson}`);
}
