import { type Delivery, eventIdOf, type Message } from './envelope.ts';
import { ConflictError } from './errors.ts';
import { derivedId } from './ids.ts';
import { idOf, type Ref, refOf, type StateStore, type UnitOfWork, type Versioned, type Write } from './state-store.ts';

/**
 * What becomes of the events of a key behind one that failed for good.
 *
 * - `park`: it is set aside as a dead letter, and the key goes on without it.
 * - `park-key`: it is a dead letter, and its key waits until that is redriven with success, or discarded.
 * - `block`: it is tried for ever, at the longest backoff, and its key waits. Of what no retry can mend, as `park-key`.
 */
export type PoisonPolicy = 'block' | 'park' | 'park-key';

export const poisonPolicies: readonly PoisonPolicy[] = ['block', 'park', 'park-key'];

/** One event at a time for each workflow, in the order in which they were committed. */
export interface Order {
  readonly poison: PoisonPolicy;
}

/** What tells an event from all others: tenant, source, id. */
export type EventKey = readonly [tenant: string, source: string, id: string];

/**
 * The events of one workflow at one ordered subscription, behind one that is not settled. There is such a document only while
 * one is not: the event whose turn it is waits for a retry, lies among the dead letters, or was just released.
 *
 * What comes meanwhile is held: a document below the line, numbered, with its message; its delivery is acked. Whoever
 * settles the event whose turn it is publishes the first of those again, addressed, in the same commit, and takes it out of the
 * line: its turn it is now. Every commit of a delivery has the line among its preconditions, so nobody overtakes.
 */
export interface Line {
  readonly turn: EventKey;
  /** Epoch milliseconds. */
  readonly since: number;
  /** The dead letter that holds the line up, also while it is redriven. */
  readonly deadLetter?: string;
  /** Number of the first that is held. */
  readonly first: number;
  /** Number that the next to be held will have. */
  readonly next: number;
}

/** An event that waits behind others. */
export interface Held {
  readonly event: EventKey;
  readonly message: Message;
  readonly at: number;
}

/** The collection of the lines of a subscription. */
export function linesOf(subscription: string): Ref {
  return `${refOf('lines', subscription)}/keys`;
}

/** @param workflow of that tenant: an event that claims another's stands in no line of theirs */
export function lineRef(subscription: string, tenant: string, workflow: Ref): Ref {
  return refOf('lines', subscription, 'keys', `${tenant}/${idOf(workflow)}`);
}

export function heldRef(line: Ref, number: number): Ref {
  return `${line}/${refOf('held', String(number))}`;
}

export function eventKeyOf(delivery: Pick<Delivery, 'message' | 'messageId'>): EventKey {
  const { attributes } = delivery.message;
  return [attributes['ce-tenant'] ?? '', attributes['ce-source'] ?? '', eventIdOf(delivery)];
}

/** Where the memory of a delivery is. */
export function inboxRef(subscription: string, event: EventKey): Ref {
  return refOf('inbox', derivedId(subscription, ...event));
}

/** How many wait in a line. */
export function depthOf({ data }: Pick<Versioned, 'data'>): number {
  const line = data as Line | null;
  return line === null ? 0 : line.next - line.first;
}

/** One delivery, and the line it stands in. */
export class Place {
  readonly #line: Versioned;
  readonly #subscription: string;
  readonly #event: EventKey;

  constructor(line: Versioned, subscription: string, event: EventKey) {
    this.#line = line;
    this.#subscription = subscription;
    this.#event = event;
  }

  /** The precondition that nobody came or went meanwhile. */
  get line(): Versioned {
    return this.#line;
  }

  get #data(): Line | null {
    return this.#line.data as Line | null;
  }

  /** Another's turn it is, and this one's only after it. */
  get isBehind(): boolean {
    return this.#data !== null && !this.hasTurn;
  }

  /** Others wait behind it, or would. */
  get hasTurn(): boolean {
    return this.#data !== null && JSON.stringify(this.#data.turn) === JSON.stringify(this.#event);
  }

  /** It joins the end of the line. */
  held(message: Message, at: number): Write[] {
    const line = this.#data!;
    const held: Held = { event: this.#event, message, at };
    return [
      { ref: this.#line.ref, data: { ...line, next: line.next + 1 } },
      { ref: heldRef(this.#line.ref, line.next), data: { ...held } },
    ];
  }

  /** It is not settled: whoever comes waits behind it. */
  kept(at: number, deadLetter?: string): Write[] {
    const line = { since: at, first: 0, next: 0, ...this.#data, turn: this.#event };
    return [{ ref: this.#line.ref, data: { ...line, ...(deadLetter !== undefined && { deadLetter }) } }];
  }

  /** It is out of the way: the next one's turn it is. @throws ConflictError where somebody was faster */
  async passed(store: StateStore, at: number): Promise<Pick<UnitOfWork, 'writes' | 'publish'>> {
    if (!this.hasTurn) return { writes: [], publish: [] };
    const { first, next } = this.#data!;
    const { ref } = this.#line;
    if (first === next) return { writes: [{ ref, data: null }], publish: [] };
    const [found] = await store.get([heldRef(ref, first)]);
    if (found!.data === null) throw new ConflictError([ref]);
    const { event, message } = found!.data as unknown as Held;
    const line: Line = { turn: event, since: at, first: first + 1, next };
    return {
      writes: [
        { ref, data: { ...line } },
        { ref: found!.ref, data: null },
      ],
      publish: [released(message, this.#subscription)],
    };
  }
}

/** The same message, for the one subscription that held it. */
export function released(message: Message, to: string): Message {
  return { ...message, attributes: { ...message.attributes, 'dormouse-to': to } };
}
