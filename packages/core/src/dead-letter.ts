import type { Message } from './envelope.ts';
import type { ErrorCode } from './errors.ts';
import type { Ref } from './state-store.ts';

/** The collection of dead letters. */
export const deadLetters = 'dead-letters';

/**
 * A delivery set aside after its last attempt: one record for each event and subscription.
 *
 *   open --redrive--> redriving --settled--> resolved
 *    |  ^                 |
 *    |  +--failed again---+
 *    +--discard--> discarded
 *
 * Of a service that is another command nobody tells what becomes of a redrive: it is resolved at once, and open again where the wire
 * gives it up once more.
 */
export interface DeadLetter {
  readonly id: string;
  readonly state: 'open' | 'redriving' | 'resolved' | 'discarded';
  readonly topic: string;
  readonly subscription: string;
  readonly workflow: Ref | undefined;
  readonly code: ErrorCode;
  readonly cause: string;
  /** Runs of the handler so far. */
  readonly attempts: number;
  /** Epoch milliseconds. */
  readonly at: number;
  /** Why nothing more is to be done about it. */
  readonly discarded?: { readonly reason: string; readonly at: number };
  /** The message as it came: what a redrive sends again. */
  readonly message: Message;
  /** The delivery's memory. */
  readonly inbox: Ref;
}
