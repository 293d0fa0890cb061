import { createHash } from 'node:crypto';

export const kinds = ['mail', 'sms', 'submission', 'withdrawal', 'answer'] as const;
export type Kind = (typeof kinds)[number];

/** Something that happened to the outside world. */
export type Effect = MailEffect | SmsEffect | SubmissionEffect | WithdrawalEffect | AnswerEffect;

export interface MailEffect {
  readonly kind: 'mail';
  readonly workflowId?: string;
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  /** Its beginning. */
  readonly text: string;
  /** Of the whole text. */
  readonly sha256: string;
}

export interface SmsEffect {
  readonly kind: 'sms';
  readonly workflowId?: string;
  readonly to: string;
  readonly text: string;
}

export interface SubmissionEffect {
  readonly kind: 'submission';
  readonly submissionId: string;
  readonly workflowId: string;
  readonly letterId: string;
  readonly reference: string;
  readonly merchant: string;
  readonly amountMinor: number;
  readonly currency: string;
  readonly reply: 'accept' | 'reject' | 'silent';
  /** Of the letter. */
  readonly bytes: number;
  readonly sha256: string;
}

/** A letter, and with it its reminders, is not pursued. */
export interface WithdrawalEffect {
  readonly kind: 'withdrawal';
  readonly workflowId: string;
  readonly letterId: string;
  readonly merchant: string;
}

/** A counterparty's answer, once the webhook has been taken. */
export interface AnswerEffect {
  readonly kind: 'answer';
  readonly submissionId: string;
  readonly workflowId: string;
  readonly letterId: string;
  readonly reference: string;
  readonly merchant: string;
  readonly decision: 'accepted' | 'rejected';
  readonly amountMinor: number;
  readonly currency: string;
}

/** A line of the record: an effect, or that one was asked for again. */
export type Entry = EffectEntry | RepeatEntry;
export type EffectEntry = Stamp & Effect;
export type RepeatEntry = Stamp & { readonly kind: Kind; readonly workflowId?: string; readonly repeat: true };

interface Stamp {
  /** ISO 8601. */
  readonly at: string;
  /** The idempotency key. A mail without one is an effect each time. */
  readonly key?: string;
}

export interface Count {
  effects: number;
  distinctKeys: number;
  repeats: number;
}

export interface Summary {
  readonly counts: Readonly<Record<Kind, Count>>;
  /** The latest effects, newest first. */
  readonly items: readonly EffectEntry[];
}

const shownItems = 200;

/** What entries come to: how many of each kind, and the last of them. */
class Tally {
  readonly counts = Object.fromEntries(
    kinds.map((kind) => [kind, { effects: 0, distinctKeys: 0, repeats: 0 }]),
  ) as Record<Kind, Count>;
  readonly #latest: EffectEntry[] = [];

  add(entry: Entry): void {
    const count = this.counts[entry.kind];
    if ('repeat' in entry) {
      count.repeats += 1;
      return;
    }
    count.effects += 1;
    if (entry.key !== undefined) count.distinctKeys += 1;
    this.#latest.push(entry);
    if (this.#latest.length > shownItems) this.#latest.shift();
  }

  summary(): Summary {
    return { counts: this.counts, items: this.#latest.toReversed() };
  }
}

/** Where the lines of a record are kept: `RecordFile`, or memory. */
export interface Ledger {
  /** Kept when it resolves. */
  append(entry: Entry): Promise<void>;
  /** From the first to the last. */
  entries(): AsyncIterable<Entry>;
  close(): Promise<void>;
}

/**
 * All that the outside has seen: kept before the caller is answered. So an effect is counted once for its idempotency key,
 * also over `kill -9`. In memory are a key and a hash for each effect and the latest items; everything else is read from
 * the ledger when asked for.
 */
export class SandboxRecord {
  readonly #ledger: Ledger;
  readonly #now: () => number;
  readonly #tally = new Tally();
  /** What each kind and key was first used for. */
  readonly #hashes = new Map<string, string>();
  /** Settles when all appends so far have ended, well or not. One by one, so that a repeat comes after its first. */
  #appends: Promise<unknown> = Promise.resolve();

  constructor(ledger: Ledger, now: () => number) {
    this.#ledger = ledger;
    this.#now = now;
  }

  /** Reads what is there already, and shows each of its entries, from the first to the last. */
  async restore(onEntry: (entry: Entry) => void): Promise<void> {
    for await (const entry of this.#ledger.entries()) {
      this.#note(entry);
      onEntry(entry);
    }
  }

  /**
   * Records an effect. With a key that was used for the same effect before it is a repeat, recorded as such; with one
   * that was used for another it is a conflict, and nothing happens.
   */
  async capture(effect: Effect, key: string | undefined): Promise<'first' | 'repeat' | 'conflict'> {
    const stamp: Stamp = { at: new Date(this.#now()).toISOString(), ...(key === undefined ? {} : { key }) };
    const use = `${effect.kind} ${key}`;
    const hash = hashOf(effect);
    const known = key === undefined ? undefined : this.#hashes.get(use);
    if (known !== undefined && known !== hash) return 'conflict';
    if (known !== undefined) {
      const { kind, workflowId } = effect;
      await this.#append({ ...stamp, kind, ...(workflowId === undefined ? {} : { workflowId }), repeat: true });
      return 'repeat';
    }
    // Before the write, so that a repeat that overtakes it is known for one.
    if (key !== undefined) this.#hashes.set(use, hash);
    try {
      await this.#append({ ...stamp, ...effect });
    } catch (error) {
      this.#hashes.delete(use);
      throw error;
    }
    return 'first';
  }

  /** Of everything, or of one workflow; the latter reads the whole ledger. */
  async summary(workflowId?: string): Promise<Summary> {
    if (workflowId === undefined) return this.#tally.summary();
    const tally = new Tally();
    for await (const entry of this.#ledger.entries()) {
      if (entry.workflowId === workflowId) tally.add(entry);
    }
    return tally.summary();
  }

  async close(): Promise<void> {
    await this.#appends;
    await this.#ledger.close();
  }

  #note(entry: Entry): void {
    this.#tally.add(entry);
    if ('repeat' in entry || entry.key === undefined) return;
    const { at: _at, key, ...effect } = entry;
    this.#hashes.set(`${entry.kind} ${key}`, hashOf(effect));
  }

  async #append(entry: Entry): Promise<void> {
    const append = this.#appends.then(() => this.#ledger.append(entry));
    this.#appends = append.catch(() => undefined);
    await append;
    this.#tally.add(entry);
  }
}

function hashOf(effect: Effect): string {
  return createHash('sha256').update(JSON.stringify(effect)).digest('base64').slice(0, 22);
}
