import { type Delivery, eventIdOf, type Message } from './envelope.ts';
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
  /** What becomes of the others if the one whose turn it is dies, for whoever does not know the subscription. Lines of before say nothing: then they wait. */
  readonly poison?: PoisonPolicy;
  /** The dead letter that holds the line up, also while it is redriven. */
  readonly deadLetter?: string;
  /** Number of the first that is held. */
  readonly first: number;
  /** Number that the next to be held will have. */
  readonly next: number;
  /** Of those that are held, whose message is yet to come here. */
  readonly expected?: readonly Expected[];
}

/** Whose turn it was in a line that was moved behind another, while it waited for a retry, lay among the dead letters, or was on its way. */
export interface Expected {
  readonly event: EventKey;
  /** Of the place that is kept for it, before those that were behind it. */
  readonly number: number;
}

/** An event that waits behind others. */
export interface Held {
  readonly event: EventKey;
  /** None of one that is expected: it comes by itself. */
  readonly message?: Message;
  /** The dead letter that it is, where it is expected. */
  readonly deadLetter?: string;
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
  readonly #poison: PoisonPolicy | undefined;

  /** @param poison the subscription's, by whoever knows it. Default: as the line has it */
  constructor(line: Versioned, subscription: string, event: EventKey, poison?: PoisonPolicy) {
    this.#line = line;
    this.#subscription = subscription;
    this.#event = event;
    this.#poison = poison ?? (line.data as Line | null)?.poison;
  }

  /** The precondition that nobody came or went meanwhile. */
  get line(): Versioned {
    return this.#line;
  }

  get #data(): Line | null {
    return this.#line.data as Line | null;
  }

  /** The place that is kept for it, before its turn. */
  get #kept(): Expected | undefined {
    return this.#data?.expected?.find(({ event }) => isSameEvent(event)(this.#event));
  }

  /** Another's turn it is, and this one's only after it. */
  get isBehind(): boolean {
    return this.#data !== null && !this.hasTurn;
  }

  /** Others wait behind it, or would. */
  get hasTurn(): boolean {
    return this.#data !== null && isSameEvent(this.#data.turn)(this.#event);
  }

  /** Those behind it do not wait for it once it is dead. */
  get goesOnWithoutDead(): boolean {
    return this.#poison === 'park';
  }

  /** It joins the end of the line, or takes the place that is kept for it. */
  held(message: Message, at: number): Write[] {
    const line = this.#data!;
    const held: Held = { event: this.#event, message, at };
    const { number } = this.#kept ?? { number: line.next };
    return [
      this.#write({ ...line, next: Math.max(line.next, number + 1) }, number),
      { ref: heldRef(this.#line.ref, number), data: { ...held } },
    ];
  }

  /** It is not settled: whoever comes waits behind it. */
  kept(at: number, deadLetter?: string): Write[] {
    const line = { since: at, first: 0, next: 0, ...this.#data, turn: this.#event };
    return [this.#write({ ...line, ...(deadLetter !== undefined && { deadLetter }) })];
  }

  /** It is out of the way, or will never come: the next one's turn it is, where this one had it. */
  async passed(store: StateStore, at: number): Promise<Pick<UnitOfWork, 'writes' | 'publish'>> {
    if (!this.hasTurn) return { writes: this.#givenUp(), publish: [] };
    const { first, next, expected } = this.#data!;
    const { ref } = this.#line;
    for (let number = first; number < next; number++) {
      const place = heldRef(ref, number);
      const [found] = await store.get([place]);
      // Its place was given up. Or somebody was faster, and then the line has moved.
      if (found!.data === null) continue;
      const { event, message, deadLetter } = found!.data as unknown as Held;
      const line: Line = { turn: event, since: at, first: number + 1, next, ...(expected && { expected }) };
      return {
        writes: [
          this.#write({ ...line, ...(deadLetter !== undefined && { deadLetter }) }, number),
          { ref: place, data: null },
        ],
        publish: message ? [released(message, this.#subscription)] : [],
      };
    }
    return { writes: [{ ref, data: null }], publish: [] };
  }

  /** Nobody waits for it any more. */
  #givenUp(): Write[] {
    const kept = this.#kept;
    if (!kept) return [];
    return [this.#write(this.#data!, kept.number), { ref: heldRef(this.#line.ref, kept.number), data: null }];
  }

  /** @param number of a place where nobody is expected any more */
  #write({ expected = [], ...line }: Line, number?: number): Write {
    const left = expected.filter((each) => each.number !== number);
    const poison = this.#poison;
    return {
      ref: this.#line.ref,
      data: { ...line, ...(poison && { poison }), ...(left.length > 0 && { expected: left }) },
    };
  }
}

export function isSameEvent(one: EventKey): (other: EventKey) => boolean {
  return (other) => one.every((part, index) => part === other[index]);
}

/** The same message, for the one subscription that held it. */
export function released(message: Message, to: string): Message {
  return { ...message, attributes: { ...message.attributes, 'dormouse-to': to } };
}
