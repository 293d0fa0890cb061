import type { Lease } from './lease.ts';
import type { SubscriptionState } from './subscription.ts';

/** About 1 MB. */
const mostKept = 10_000;

/** How a message was settled on a subscription. */
export interface Settlement {
  readonly messageId: string;
  readonly position: number;
  readonly topicId: number;
  readonly subscription: string;
  /** What was settled before a seek says nothing about after it. */
  readonly seeks: number;
  readonly attempt: number;
  /** Epoch milliseconds. */
  readonly at: number;
  /** It went to the dead-letter topic: its id there. Else it was acked. */
  readonly forwardedAs: string | undefined;
}

/**
 * The last messages that were settled, for whoever asks what became of one: the log itself keeps no time of an ack, and lets go
 * of what all have settled. Memory only: a restart forgets it.
 */
export class Settlements {
  readonly #kept: Settlement[] = [];
  #next = 0;

  note(subscription: SubscriptionState, { message, attempt }: Lease, at: number, forwardedAs?: string): void {
    const { messageId, position } = message;
    const { topicId, seeks, config } = subscription;
    this.#kept[this.#next] = {
      messageId,
      position,
      topicId,
      subscription: config.name,
      seeks,
      attempt,
      at,
      forwardedAs,
    };
    this.#next = (this.#next + 1) % mostKept;
  }

  /** Those of a message, in no order. */
  of(messageId: string): Settlement[] {
    return this.#kept.filter((each) => each.messageId === messageId);
  }
}
