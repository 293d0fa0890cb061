import type { Lease } from './lease.ts';

/** What is out of one key. */
interface Run {
  /** Ascending. Empty: its first message is a candidate. */
  readonly leased: Set<number>;
  /** Acked while one before it was not: settled when that one is, undone when that one fails. */
  readonly ahead: Map<number, Lease>;
}

/** As many keys are remembered; the others are found out again. */
const mostRemembered = 10_000;

/**
 * The ordering keys that a subscription is at.
 *
 * Of a key only the first message that is not settled may be leased, alone, or to one stream together with those right
 * behind it. A key is active while that message is a candidate or leased. The scan passes over whatever it meets of an active key;
 * when all that is out of it is settled, its next message is looked up by its key. So no message is looked at twice, and
 * memory holds what is out, not what waits behind it.
 */
export class OrderedKeys {
  readonly #active = new Map<string, Run>();
  /** Up to where a key is known to be settled, the ones used last at the end. */
  readonly #settledTo = new Map<string, number>();

  isActive(key: string): boolean {
    return this.#active.has(key);
  }

  get active(): readonly string[] {
    return [...this.#active.keys()];
  }

  activate(key: string): void {
    if (!this.#active.has(key)) this.#active.set(key, { leased: new Set(), ahead: new Map() });
  }

  deactivate(key: string): void {
    this.#active.delete(key);
  }

  lease(key: string, position: number): void {
    this.activate(key);
    this.#active.get(key)!.leased.add(position);
  }

  /** Its first message may be leased: nothing is out. */
  isFree(key: string): boolean {
    return (this.#active.get(key)?.leased.size ?? 0) === 0;
  }

  /** Acked, in the order of the key; what that settles comes back. */
  ack(key: string, lease: Lease): Lease[] {
    const run = this.#active.get(key);
    const { position } = lease.message;
    if (!run?.leased.delete(position)) return [lease];
    run.ahead.set(position, lease);
    const [first = Number.POSITIVE_INFINITY] = run.leased;
    const settled = [...run.ahead.values()].filter(({ message }) => message.position < first);
    for (const { message } of settled) run.ahead.delete(message.position);
    return settled;
  }

  /** One is out no more and not settled: neither is what was leased or acked behind it. Answers what was leased. */
  rewind(key: string, position: number): number[] {
    const run = this.#active.get(key);
    if (!run?.leased.delete(position)) return [];
    for (const acked of run.ahead.keys()) if (acked > position) run.ahead.delete(acked);
    const behind = [...run.leased].filter((each) => each > position);
    for (const each of behind) run.leased.delete(each);
    return behind;
  }

  isAhead(key: string, position: number): boolean {
    return this.#active.get(key)?.ahead.has(position) ?? false;
  }

  remember(key: string, settledTo: number): void {
    this.#settledTo.delete(key);
    this.#settledTo.set(key, settledTo);
    if (this.#settledTo.size > mostRemembered) this.#settledTo.delete(this.#settledTo.keys().next().value!);
  }

  settledTo(key: string): number {
    return this.#settledTo.get(key) ?? 0;
  }

  clear(): void {
    this.#active.clear();
    this.#settledTo.clear();
  }
}
