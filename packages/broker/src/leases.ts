import type { Lease } from './lease.ts';
import { Lowest } from './lowest.ts';

/** When a lease ends, unless it is extended. Names it, and holds nothing of it: what has ended may be remembered here for a while. */
interface Expiry {
  readonly at: number;
  readonly position: number;
}

/** The leases of a subscription that are out, by their positions. Memory of what has ended is let go of: `docs/decisions/0040`. */
export class Leases {
  readonly #byPosition = new Map<number, Lease>();
  readonly #positions: Lowest<number>;
  readonly #expiries = new Lowest<Expiry>(
    ({ at }) => at,
    (expiry) => this.#runs(expiry),
  );

  /** @param keepsCursor whether the cursor is to stay before a lease that is out */
  constructor(keepsCursor: (lease: Lease) => boolean) {
    this.#positions = new Lowest<number>(
      (position) => position,
      (position) => {
        const lease = this.get(position);
        return lease !== undefined && keepsCursor(lease);
      },
    );
  }

  get size(): number {
    return this.#byPosition.size;
  }

  get(position: number): Lease | undefined {
    return this.#byPosition.get(position);
  }

  has(position: number): boolean {
    return this.#byPosition.has(position);
  }

  keys(): IterableIterator<number> {
    return this.#byPosition.keys();
  }

  values(): IterableIterator<Lease> {
    return this.#byPosition.values();
  }

  add(lease: Lease): void {
    this.#byPosition.set(lease.message.position, lease);
    this.#note(lease);
  }

  end(position: number): void {
    const lease = this.#byPosition.get(position);
    this.#byPosition.delete(position);
    lease?.onEnd?.();
  }

  endAll(): void {
    for (const position of [...this.keys()]) this.end(position);
  }

  /** It is out, and nothing that ends it is on its way to the disk. */
  stands(lease: Lease): boolean {
    return this.get(lease.message.position) === lease && lease.ending === undefined;
  }

  /** What was to end it did not come to pass. */
  standAgain(lease: Lease): void {
    lease.ending = undefined;
    this.#note(lease);
  }

  extend(lease: Lease, expiresAt: number): void {
    lease.expiresAt = expiresAt;
    this.#expiries.add({ at: expiresAt, position: lease.message.position });
  }

  /** When the first ends; Infinity where none is out. */
  get nextExpiryAt(): number {
    return this.#expiries.first()?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Those whose time is over. Told once: whoever leaves one standing is to extend it. */
  takeExpired(now: number): Lease[] {
    return this.#expiries.take(now).map(({ position }) => this.get(position)!);
  }

  /** The lowest position that the cursor is to stay before; Infinity where there is none. */
  get lowest(): number {
    return this.#positions.first() ?? Number.POSITIVE_INFINITY;
  }

  #note(lease: Lease): void {
    const { position } = lease.message;
    this.#positions.add(position);
    this.#expiries.add({ at: lease.expiresAt, position });
  }

  /** It is the end of a lease, as things stand. */
  #runs({ at, position }: Expiry): boolean {
    const lease = this.get(position);
    return lease?.expiresAt === at && lease.ending === undefined;
  }
}
