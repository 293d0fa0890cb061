import { Batch, type BatchRow } from './batch.ts';
import type { Database } from './database.ts';
import { type Exception, Exceptions, type Unsettled } from './exceptions.ts';
import { type Filter, parseFilter } from './filter.ts';
import { type Candidate, type Lane, Lanes } from './lanes.ts';
import type { Log, StoredMessage } from './log.ts';
import { Lowest } from './lowest.ts';
import { OrderedKeys } from './ordered-keys.ts';
import { bounds, millisecondsOf, type SubscriptionConfig } from './subscription-config.ts';

export interface Lease {
  readonly message: StoredMessage;
  /** Deliveries of this message on this subscription, this one included. */
  attempt: number;
  /** Deliveries in which whoever had it died. */
  readonly deaths: number;
  readonly lane: string;
  expiresAt: number;
  /** There may be a row of it. */
  hasRow: boolean;
  /** No other lease has it; undefined where the attempt tells them apart. */
  readonly serial?: number | undefined;
  /** What ends it is on its way to the disk. */
  ending?: 'acked' | 'nacked' | undefined;
  /** Set where the lease itself must be on disk before anyone sees the message. Rejects where the disk would not take it. */
  written?: Promise<void>;
  /** Acked, nacked, expired, released, or its subscription gone. */
  onEnd?: () => void;
}

/** How many messages and rows of the log may still be looked at in this turn of the loop. */
interface Looks {
  left: number;
}

/** A place among what waits, in the order of its time. */
interface Due {
  readonly at: number;
  readonly position: number;
}

/** When a lease ends, unless it is extended. Names it, and holds nothing of it: what has ended may be remembered here for a while. */
interface Expiry {
  readonly at: number;
  readonly position: number;
}

/** A row of `Exceptions.ofKey`. */
interface KeyedBatch {
  readonly last: number;
  readonly count: number;
  readonly publishedAt: number;
  readonly lane: string;
}

/** A candidate that a process died of, or of another that it held with it: to be given to a process alone. */
interface Suspect extends Candidate {
  readonly lane: string;
}

/** Which messages a lease is for: those that go with others, the suspects, or both. */
export type LeaseOf = 'company' | 'suspects' | 'any';

export interface Wanted {
  /** Default any. */
  readonly of?: LeaseOf;
  /** Of the lanes, whether something of it is wanted. Default all. */
  readonly mayTake?: (lane: string) => boolean;
  /** No more is leased once there is as much. Default without limit. */
  readonly maxBytes?: number;
  /** Several of one ordering key, in order, since they all go the same way. Default one, and the next when it is settled. */
  readonly runs?: boolean;
}

export interface SubscriptionOptions {
  readonly id: number;
  readonly topicId: number;
  readonly config: SubscriptionConfig;
  readonly cursor: number;
  /** The end of the log when it was made. */
  readonly begin: number;
  /** How often it was sought: what was delivered before has no say after it. */
  readonly seeks: number;
  readonly log: Log;
  readonly database: Database;
  /** Above that of any lease before the start. */
  readonly serial: number;
  /** Messages published before are gone from it; -Infinity where none is. */
  readonly retainedSince: (config: SubscriptionConfig) => number;
}

/** A lane's; there are as many lanes as tenants with a backlog, and all of it is in memory. */
const candidatesAtATime = 32;
/** A few milliseconds; then others have their turn. */
const looksAtATime = 2_048;
/** Of one statement, where those before brought nothing. */
const mostBatchesAStatement = 512;
const noPositions: ReadonlySet<number> = new Set();
const farPast: Due = { at: -1, position: -1 };
const pushBackoff = { minMs: 100, maxMs: 60_000 };

/**
 * A cursor into the log, and the exceptions to it.
 *
 * A message of the topic is in exactly one state:
 *   position <= cursor            settled
 *   in `exceptions`               settled ahead of the cursor, waiting, or leased (there)
 *   in `leases`                   leased; where no row says so, a crash turns it back into what it was on disk
 *   candidate of its lane         may be leased, in memory only (`lanes.ts`)
 *   in `suspects`                 may be leased, in memory only, apart from the lanes
 *   position > its lane's head    not looked at yet
 * and everything between the cursor and the head of its lane is one of the four in the middle, or behind another of its
 * ordering key, or filtered out, or past its retention.
 *
 * Invariant: the cursor never passes a leased, waiting or unseen message. On start, every head = cursor.
 */
export class SubscriptionState {
  readonly id: number;
  readonly topicId: number;
  readonly begin: number;
  config: SubscriptionConfig;
  seeks: number;
  /** When somebody last asked it for messages, epoch milliseconds; undefined where nobody has since the start. */
  activeAt: number | undefined;
  readonly leases = new Map<number, Lease>();
  /** Of the leases that keep the cursor before them. */
  readonly #leased = new Lowest<number>(
    (position) => position,
    (position) => this.#keepsCursor(position),
  );
  readonly #expiries = new Lowest<Expiry>(
    ({ at }) => at,
    (expiry) => this.#runs(expiry),
  );
  readonly #log: Log;
  readonly #filter: Filter;
  readonly #exceptions: Exceptions;
  readonly #database: Database;
  readonly #retainedSince: SubscriptionOptions['retainedSince'];
  #cursor: number;
  /** Of the messages of its topic none is after this one, as far as known. */
  #known: number;
  #serial: number;
  readonly #lanes = new Lanes();
  /** What is due up to here has been recalled: so what is out is not gone through again and again. */
  #recalledTo = farPast;
  /** The first that was due and behind another of its key, since all that was due was gone through. */
  #blocked: Due | undefined;
  readonly #suspects: Suspect[] = [];
  readonly #keys = new OrderedKeys();
  /** Acked, and not yet written down for certain; whether there may be a row that says otherwise. */
  readonly #settled = new Map<number, boolean>();
  /** The earliest that a waiting message becomes due, as far as known; Infinity where none waits. */
  nextDueAt = Number.POSITIVE_INFINITY;
  /** Told when there may be something to lease, and when it ends. */
  readonly waiting = new Set<() => void>();
  #ended = false;
  /** Seeks on their way to the disk: what is in memory has no say any more. */
  #seeking = 0;

  constructor(options: SubscriptionOptions) {
    const { id, topicId, config, cursor, begin, seeks, log, database, serial, retainedSince } = options;
    this.#serial = serial;
    this.id = id;
    this.topicId = topicId;
    this.begin = begin;
    this.config = config;
    this.seeks = seeks;
    this.#log = log;
    this.#filter = parseFilter(config.filter ?? '');
    this.#cursor = cursor;
    this.#known = log.end;
    this.#database = database;
    this.#retainedSince = retainedSince;
    this.#exceptions = new Exceptions(database, id, topicId);
    // Where only attempts are written down, nobody holds after a crash what was leased before it.
    if (!this.isExactlyOnce) this.#exceptions.unlease.run(0);
    this.#load();
  }

  /** Deleted or detached: it offers nothing any more. */
  get ended(): boolean {
    return this.#ended;
  }

  end(): void {
    this.#ended = true;
    this.#clear();
  }

  get cursor(): number {
    return this.#cursor;
  }

  /** All there is, is settled. */
  get isIdle(): boolean {
    return this.#cursor >= this.#known && this.#seeking === 0;
  }

  get filter(): Filter {
    return this.#filter;
  }

  /** Messages published before are gone from it. */
  get retainedSince(): number {
    return this.#retainedSince(this.config);
  }

  /** Something can be leased without another look into the log. */
  get hasCandidates(): boolean {
    return this.#suspects.length > 0 || this.#lanes.hasCandidates;
  }

  get ackDeadlineMs(): number {
    return (this.config.ackDeadlineSeconds || bounds.ackDeadlineSeconds.unset) * 1000;
  }

  get isExactlyOnce(): boolean {
    return this.config.enableExactlyOnceDelivery === true;
  }

  /** Whether a lease is on disk before its message is seen: for the count of attempts, or for the lease itself. */
  get writesLeases(): boolean {
    return this.isExactlyOnce || this.config.deadLetterPolicy !== undefined;
  }

  /** The ordering keys of which something is out or may be leased now. */
  get activeKeys(): readonly string[] {
    return this.#keys.active;
  }

  /** Messages of this lane became durable. Where all before them was looked at, they need not be read to be leased. */
  notice(name: string, batches: readonly Batch[]): void {
    const lane = this.#lanes.of(name, batches[0]!.first - 1);
    const isNext = lane.head >= lane.end;
    lane.end = Math.max(lane.end, batches.at(-1)!.last);
    this.#known = Math.max(this.#known, lane.end);
    if (!isNext) return;
    const most = this.#lanes.share(candidatesAtATime);
    for (const batch of batches) if (!this.#lookInto(lane, batch, most)) return;
  }

  /** The lanes that may have something to lease. */
  get lanes(): Iterable<string> {
    return this.#lanes.names;
  }

  /** Nothing was found yet, and not everything was looked at: ask again in another turn of the loop. */
  get isLooking(): boolean {
    return !this.config.paused && !this.hasCandidates && this.#lanes.isBehind;
  }

  /** Whether something can be leased now. */
  available(now: number, { of = 'any', mayTake }: Wanted = {}): boolean {
    if (this.#seeking > 0 || this.config.paused) return false;
    this.#recall(now);
    if (of !== 'company' && this.#suspects.length > 0) return true;
    return of !== 'suspects' && this.#next({ left: looksAtATime }, mayTake) !== undefined;
  }

  /** Leases up to `max` messages until `now` + `durationMs`. In memory; `writeLeases` makes it outlast a crash. */
  lease(max: number, now: number, durationMs: number, wanted: Wanted = {}): Lease[] {
    const { of = 'any', mayTake, maxBytes = Number.POSITIVE_INFINITY, runs = false } = wanted;
    const leases: Lease[] = [];
    if (this.#seeking > 0 || this.config.paused) return leases;
    const since = this.retainedSince;
    const inRuns = runs && !this.writesLeases;
    const looks = { left: looksAtATime };
    let bytes = 0;
    while (leases.length < max && bytes < maxBytes) {
      this.#recall(now);
      const lane = of === 'suspects' ? undefined : this.#next(looks, mayTake, max - leases.length);
      const suspect = lane || of === 'company' ? undefined : this.#suspects[0];
      let candidate = lane ? this.#lanes.peek(lane) : suspect;
      if (!candidate) break;
      // Read before it is taken from its line: a read that fails loses nothing.
      let message = candidate.message ?? this.#log.read(candidate.position);
      if (lane) this.#lanes.take(lane);
      else this.#suspects.shift();
      const laneName = lane?.name ?? suspect!.lane;
      while (candidate) {
        const { position, attempts, deaths, hasRow, key } = candidate;
        // Past its retention, and perhaps removed already.
        if (!message || message.publishedAt < since) {
          this.#settled.set(position, hasRow);
          if (key !== undefined) this.#advance(key);
          break;
        }
        const expiresAt = now + durationMs;
        const attempt = attempts + 1;
        const lease: Lease = { message, attempt, deaths, lane: laneName, expiresAt, hasRow, serial: this.#newSerial() };
        this.#add(lease);
        leases.push(lease);
        if (maxBytes < Number.POSITIVE_INFINITY) bytes += bytesOf(message);
        if (key === undefined) break;
        this.#keys.lease(key, position);
        if (!inRuns || leases.length >= max || bytes >= maxBytes) break;
        candidate = this.#nextOfRun(key, position);
        message = candidate && this.#log.read(candidate.position);
      }
    }
    return leases;
  }

  /** The lease of that delivery, while it stands; undefined where it ended or a later one has taken its place. */
  held(position: number, attempt: number, now: number): Lease | undefined {
    const lease = this.leases.get(position);
    return lease?.attempt === attempt && lease.expiresAt > now && this.stands(lease) ? lease : undefined;
  }

  /** It has not ended, and nothing that ends it is on its way to the disk. */
  stands(lease: Lease): boolean {
    return this.leases.get(lease.message.position) === lease && lease.ending === undefined && this.#seeking === 0;
  }

  /** Past its retention. */
  isOutdated({ message }: Lease): boolean {
    return message.publishedAt < this.retainedSince;
  }

  /** Only inside a write: what was just leased is leased after a crash as well, and counted. */
  writeLeases(leases: readonly Lease[]): void {
    for (const lease of leases) {
      const { message, attempt, deaths, expiresAt } = lease;
      if (!this.stands(lease)) continue;
      lease.hasRow = true;
      this.#exceptions.put.run(message.position, attempt, deaths, expiresAt, 1);
    }
  }

  /** Gives a lease back as if it had never been taken: nobody saw the message. */
  release(position: number): void {
    const lease = this.leases.get(position);
    if (!lease || lease.ending === 'acked') return;
    this.#endLease(position);
    const { attempt, deaths, lane, hasRow } = lease;
    const key = this.#keyOf(lease.message);
    if (key !== undefined) {
      this.#rewind(key, position);
      // Of those before it one is out: it comes up when that is settled.
      if (!this.#keys.isFree(key)) return;
    }
    const candidate = { position, attempts: attempt - 1, deaths, hasRow, key };
    if (deaths > 0) this.#suspects.unshift({ ...candidate, lane });
    else this.#lanes.giveBack(this.#laneOf(lane), candidate);
  }

  /** Settles a leased message. False where the lease is gone. Durable with the next `flush`. */
  ack(position: number): boolean {
    const lease = this.leases.get(position);
    if (!lease || lease.ending === 'acked') return false;
    this.#endLease(position);
    const key = this.#keyOf(lease.message);
    if (key === undefined) this.#settled.set(position, lease.hasRow);
    else this.#settleOf(key, lease);
    return true;
  }

  /** Only inside a write: settles a leased message with it. The lease ends when that is durable, or stands again by `undoEnd`. */
  ackNow(lease: Lease): void {
    const { position } = lease.message;
    lease.ending = 'acked';
    this.#settled.set(position, lease.hasRow);
    this.#database.afterSync(() => {
      if (this.leases.get(position) !== lease) return;
      this.#endLease(position);
      const key = this.#keyOf(lease.message);
      if (key !== undefined) this.#settleOf(key, lease);
    });
  }

  /** The write of an `ackNow` or a `nack` failed. */
  undoEnd(lease: Lease): void {
    const { position } = lease.message;
    if (lease.ending === 'acked') this.#settled.delete(position);
    lease.ending = undefined;
    this.#leased.add(position);
    this.#expiries.add({ at: lease.expiresAt, position });
  }

  /** Lets a lease run until then. In memory; `writeExtension` makes it outlast a crash. */
  extend(lease: Lease, expiresAt: number): void {
    lease.expiresAt = expiresAt;
    this.#expiries.add({ at: expiresAt, position: lease.message.position });
  }

  /** When the first lease ends; Infinity where none is out. */
  get nextExpiryAt(): number {
    return this.#expiries.first()?.at ?? Number.POSITIVE_INFINITY;
  }

  /** The leases whose time is over. Told once: whoever leaves one standing is to extend it. */
  takeExpired(now: number): Lease[] {
    return this.#expiries.take(now).map(({ position }) => this.leases.get(position)!);
  }

  /**
   * Only inside a write: sets a leased message aside until its backoff is over. The lease ends when that is durable.
   * @param died whoever had it died meanwhile
   */
  nack(lease: Lease, now: number, died = false): void {
    const { position } = lease.message;
    lease.ending = 'nacked';
    // Most of those that a process had when it died have nothing to do with it: they go on at once, each alone.
    const backoffMs = died ? (lease.deaths === 0 ? 0 : this.#backoffMs(lease.deaths)) : this.#backoffMs(lease.attempt);
    const dueAt = now + backoffMs;
    this.#exceptions.put.run(position, lease.attempt, lease.deaths + (died ? 1 : 0), dueAt, 0);
    lease.hasRow = true;
    this.#database.afterSync(() => {
      if (this.#ended) return;
      this.#waits(dueAt, position);
      // Of two nacks under way, the first may have let it be leased again.
      if (this.leases.get(position) !== lease) return;
      this.#endLease(position);
      const key = this.#keyOf(lease.message);
      if (key === undefined) return;
      this.#rewind(key, position);
      if (this.#keys.isFree(key)) this.#keys.deactivate(key);
    });
  }

  /** Only inside a write: lets leases that are on disk run until then. */
  writeExtension(lease: Lease, expiresAt: number): void {
    this.#exceptions.put.run(lease.message.position, lease.attempt, lease.deaths, expiresAt, 1);
    lease.hasRow = true;
  }

  /**
   * Only inside a write: writes down what was acked since the last time, and moves the cursor. With `always`, also over
   * what the filter leaves out and nobody acks.
   */
  flush(always = false): void {
    if (this.#seeking > 0 || (this.#settled.size === 0 && !always)) return;
    const settled = [...this.#settled];
    // In memory only when it is durable: a group that fails leaves everything to the next flush.
    this.#database.afterSync(() => {
      for (const [position] of settled) this.#settled.delete(position);
    });
    // What came back from a backoff has a row that says it waits.
    for (const [position, hasRow] of settled) if (hasRow) this.#exceptions.settle(position);
    const waiting = this.#exceptions.firstWaiting.get()?.position as number | null;
    const leased = this.#leased.first();
    const none = Number.POSITIVE_INFINITY;
    let low = Math.min(this.#log.end + 1, waiting ?? none, leased ?? none, this.#lanes.lowest);
    for (const { position } of this.#suspects) low = Math.min(low, position);
    for (const [position, hasRow] of settled) if (!hasRow && position >= low) this.#exceptions.settle(position);
    if (low - 1 > this.#cursor) {
      const cursor = low - 1;
      this.#exceptions.forget.run(cursor);
      this.#exceptions.move.run(cursor);
      this.#database.afterSync(() => {
        this.#cursor = Math.max(this.#cursor, cursor);
      });
    }
  }

  /**
   * Only inside a write: another cursor, and what of the messages behind it is settled. Every lease ends when that is
   * durable; until then nothing is leased, and if the write fails all goes on by `undoSeek`.
   * @param settled of the messages past the cursor: as it is, and then only forward; none; or these
   */
  seek(to: number, settled: 'same' | 'none' | readonly number[], now: number): void {
    this.flush(true);
    // As the writes before it left it, which are not durable yet.
    const cursor = settled === 'same' ? Math.max(to, this.#exceptions.cursor.get()!.cursor as number) : to;
    if (settled !== 'same') this.#exceptions.unsettle.run();
    this.#exceptions.endLeases.run(now);
    if (typeof settled === 'object') for (const position of settled) this.#exceptions.settle(position);
    this.#exceptions.forget.run(cursor);
    this.#exceptions.move.run(cursor);
    this.#seeking++;
    this.#database.afterSync(() => {
      this.#seeking--;
      if (this.#ended) return;
      this.seeks++;
      this.#clear();
      this.#cursor = cursor;
      this.#load();
    });
  }

  /** The write of a `seek` failed. */
  undoSeek(): void {
    this.#seeking--;
    for (const [position, lease] of this.leases) this.#expiries.add({ at: lease.expiresAt, position });
  }

  /** Lets go of what waits though it is past its retention, up to a position: it is about to be removed. */
  dropWaiting(last: number): void {
    for (const row of this.#exceptions.waitingTo.all(last)) {
      const position = row.position as number;
      if (this.leases.has(position) || this.#settled.has(position)) continue;
      this.#settled.set(position, true);
      const key = this.#keyOf({ orderingKey: row.key as string | null });
      if (key !== undefined && !this.#keys.isActive(key)) this.#advance(key);
    }
  }

  /** The message of an ordering key that is to be settled first; undefined where all that is known of are. */
  firstOf(key: string): (Unsettled & { readonly messageId: string }) | undefined {
    const first = this.#firstOf(key);
    return first && { ...first, messageId: this.#log.batch(first.position)!.idOf(first.position) };
  }

  /** When the first message past the cursor was published; undefined where there is none. Inside a write, as that leaves it. */
  firstUnsettledAt(): number | undefined {
    return (this.#exceptions.firstUnsettled.get()?.at as number | null) ?? undefined;
  }

  /** Backlog as a monitor would see it: not settled, whether leased, waiting or unseen. Counts rows; not for hot paths. */
  backlog(): number {
    return Number(this.#exceptions.backlog.get(this.#cursor)?.count ?? 0);
  }

  /** What is on disk, into memory: leases that outlast the process, and where to look for the rest. */
  #load(): void {
    for (const { lane } of this.#exceptions.lanes.all(this.#cursor)) {
      this.#lanes.of(lane as string, this.#cursor).end = this.#log.end;
    }
    for (const row of this.#exceptions.leased.all()) {
      const { position, attempts, deaths, dueAt, lane } = row as unknown as Required<Unsettled>;
      const message = this.#log.read(position);
      if (!message) continue;
      const serial = this.#newSerial();
      this.#add({ message, attempt: attempts, deaths, lane, expiresAt: dueAt!, hasRow: true, serial });
      const key = this.#keyOf(message);
      if (key !== undefined) this.#keys.lease(key, position);
    }
    this.#refreshNextDue();
  }

  /** Acked, in the order of its key. */
  #settleOf(key: string, lease: Lease): void {
    const settled = this.#keys.ack(key, lease);
    for (const { message, hasRow } of settled) this.#settled.set(message.position, hasRow);
    if (settled.length === 0) return;
    this.#keys.remember(key, settled.at(-1)!.message.position);
    this.#advance(key);
  }

  #clear(): void {
    this.#lanes.clear();
    this.#keys.clear();
    this.#recalledTo = farPast;
    this.#blocked = undefined;
    this.#suspects.length = 0;
    this.#settled.clear();
    this.nextDueAt = Number.POSITIVE_INFINITY;
    for (const position of [...this.leases.keys()]) this.#endLease(position);
  }

  /** Where a lease outlasts a restart, what is on disk of it says which it is. */
  #newSerial(): number | undefined {
    return this.isExactlyOnce ? undefined : ++this.#serial;
  }

  #add(lease: Lease): void {
    const { position } = lease.message;
    this.leases.set(position, lease);
    this.#leased.add(position);
    this.#expiries.add({ at: lease.expiresAt, position });
  }

  #endLease(position: number): void {
    const lease = this.leases.get(position);
    this.leases.delete(position);
    lease?.onEnd?.();
  }

  /** It is the end of a lease, as things stand. */
  #runs({ at, position }: Expiry): boolean {
    const lease = this.leases.get(position);
    return lease?.expiresAt === at && this.stands(lease);
  }

  /** The next of its key, which the scan has passed, is looked for when the ack is durable: until then this one keeps its place. */
  #keepsCursor(position: number): boolean {
    const lease = this.leases.get(position);
    return lease !== undefined && (lease.ending !== 'acked' || this.#keyOf(lease.message) !== undefined);
  }

  /** The key that orders a message here; undefined where none does. */
  #keyOf({ orderingKey }: { readonly orderingKey?: string | null }): string | undefined {
    return this.config.enableMessageOrdering ? orderingKey || undefined : undefined;
  }

  /** The lane whose turn it is, with a candidate. */
  #next(looks: Looks, mayTake: (lane: string) => boolean = () => true, wanted = 1): Lane | undefined {
    return this.#lanes.next(mayTake, (lane) => this.#look(lane, wanted, looks));
  }

  /** Set aside until a time. */
  #waits(at: number, position: number): void {
    this.nextDueAt = Math.min(this.nextDueAt, at);
    if (!isAfter(at, position, this.#recalledTo)) this.#recalledTo = { at, position: position - 1 };
  }

  /** What has its backoff behind it becomes a candidate, so many at a time, the longest due first: what fails again goes behind. */
  #recall(now: number): void {
    if (this.nextDueAt > now || this.#lanes.recalled > 0) return;
    const since = this.retainedSince;
    let isFull = false;
    for (const row of this.#exceptions.due.iterate(now, this.#recalledTo.at, this.#recalledTo.position)) {
      const { position, attempts, deaths, lane, dueAt } = row as unknown as Suspect & { readonly dueAt: number };
      // Suspects go one by one: however many there are, the others pass them.
      if (deaths > 0 && this.#suspects.length === candidatesAtATime) {
        isFull = true;
        continue;
      }
      if (!isFull) this.#recalledTo = { at: dueAt, position };
      if (this.leases.has(position) || this.#settled.has(position)) continue;
      // Given back after it had been recalled.
      if (deaths > 0 && this.#suspects.some((each) => each.position === position)) continue;
      const key = this.#keyOf({ orderingKey: row.key as string });
      if ((row.publishedAt as number) < since) {
        this.#settled.set(position, true);
        if (key !== undefined && !this.#keys.isActive(key)) this.#advance(key);
        continue;
      }
      // Behind another of its key, it comes up when that is settled.
      if (key !== undefined && !this.#begin(key, position)) {
        this.#blocked ??= { at: dueAt, position: position - 1 };
        continue;
      }
      const candidate: Candidate = { position, attempts, deaths, hasRow: true, key };
      if (deaths > 0) this.#suspects.push({ ...candidate, lane });
      else this.#lanes.recall(this.#laneOf(lane), candidate);
      if (this.#lanes.recalled === candidatesAtATime) return;
    }
    if (isFull) return;
    if (this.#blocked) this.#recalledTo = this.#blocked;
    this.#blocked = undefined;
    this.#refreshNextDue(now);
  }

  /** Finds candidates of a lane from its head on, as many as are wanted where it is the only one. */
  #look(lane: Lane, wanted: number, looks: Looks): void {
    const { end } = this.#log;
    const most = this.#lanes.share(candidatesAtATime, wanted);
    let atATime = most;
    while (lane.unseen.length === 0 && lane.head < lane.end && looks.left > 0) {
      looks.left -= atATime;
      const reach = this.#exceptions.reach.get(lane.name, lane.head, end, atATime - 1)?.last as number | undefined;
      // One at a time: together they may be much.
      for (const row of this.#exceptions.scan.iterate(lane.name, lane.head, reach ?? end)) {
        const batch = new Batch(row as unknown as BatchRow);
        looks.left -= batch.count;
        if (!this.#lookInto(lane, batch, most, this.#exceptedIn(batch))) return;
      }
      lane.head = reach ?? end;
      atATime = Math.min(2 * atATime, mostBatchesAStatement);
    }
  }

  /** The messages of a batch that have a row, where it has others as well. */
  #exceptedIn({ first, last, count }: Batch): ReadonlySet<number> {
    if (count === 1) return noPositions;
    return new Set(this.#exceptions.within.all(first, last).map(({ position }) => position as number));
  }

  /** Looks at the messages of a batch from the head of its lane on. False where there are enough candidates before its end. */
  #lookInto(lane: Lane, batch: Batch, most: number, excepted = noPositions): boolean {
    const isRetained = batch.publishedAt >= this.retainedSince;
    const key = this.#keyOf(batch);
    for (let position = Math.max(batch.first, lane.head + 1); isRetained && position <= batch.last; position++) {
      if (lane.unseen.length >= most) return false;
      lane.head = position;
      if (excepted.has(position) || this.leases.has(position) || this.#settled.has(position)) continue;
      if (!this.#shows(batch, position) || (key !== undefined && !this.#begin(key, position))) continue;
      lane.unseen.push({ position, attempts: 0, deaths: 0, hasRow: false, key, message: batch.small(position) });
    }
    lane.head = batch.last;
    return true;
  }

  /** Its filter lets it pass. */
  #shows(batch: Batch, position: number): boolean {
    return !this.config.filter || this.#filter(batch.attributesOf(position));
  }

  /** Makes a key active by its first message; false where it is active already, or this is not its first. */
  #begin(key: string, position: number): boolean {
    if (this.#keys.isActive(key) || this.#firstOf(key)?.position !== position) return false;
    this.#keys.activate(key);
    return true;
  }

  /** One of the key was settled. With nothing more of it out, its next message may come. */
  #advance(key: string): void {
    if (!this.#keys.isFree(key)) return;
    const next = this.#firstOf(key);
    const lane = next && this.#lanes.get(next.lane);
    if (next && next.dueAt === null && next.position <= (lane?.head ?? Number.POSITIVE_INFINITY)) {
      this.#keys.activate(key);
      this.#laneOf(next.lane).unseen.push({ ...next, key });
      return;
    }
    // It waits for a time, or the scan has yet to meet it.
    this.#keys.deactivate(key);
    if (next?.dueAt != null) this.#waits(next.dueAt, next.position);
  }

  /** What may go out right behind a message that is out: not what waits for a time. */
  #nextOfRun(key: string, position: number): Candidate | undefined {
    const next = this.#nextOf(key, position);
    return next && next.dueAt === null ? { ...next, key } : undefined;
  }

  /** The first message of a key that is not settled. What is before it never comes again, and is not gone through again. */
  #firstOf(key: string): Unsettled | undefined {
    const after = Math.max(this.#cursor, this.#keys.settledTo(key));
    const first = this.#nextOf(key, after);
    const settledTo = (first?.position ?? this.#log.end + 1) - 1;
    if (settledTo > after) this.#keys.remember(key, settledTo);
    return first;
  }

  /** The first message of a key that is not settled, after a position. */
  #nextOf(key: string, after: number): Unsettled | undefined {
    const since = this.retainedSince;
    for (const row of this.#exceptions.ofKey.iterate(key, after, this.#log.end)) {
      const { last, count, publishedAt, lane } = row as unknown as KeyedBatch;
      if (publishedAt < since) continue;
      const first = Math.max(after, last - count) + 1;
      const rows = this.#exceptions.within.all(first, last) as unknown as Exception[];
      const excepted = new Map(rows.map((each) => [each.position, each]));
      for (let position = first; position <= last; position++) {
        const exception = excepted.get(position);
        if (exception && exception.dueAt === null) continue;
        if (this.#settled.has(position) || this.#keys.isAhead(key, position)) continue;
        if (this.config.filter && !this.#shows(this.#log.batch(position)!, position)) continue;
        const { attempts = 0, deaths = 0 } = exception ?? {};
        const dueAt = exception?.leased === 0 ? exception.dueAt : null;
        return { position, lane, attempts, deaths, dueAt, hasRow: exception !== undefined };
      }
    }
    return undefined;
  }

  #rewind(key: string, position: number): void {
    for (const behind of this.#keys.rewind(key, position)) this.#endLease(behind);
  }

  /** A lane to put something back into, also one that had come to its end. */
  #laneOf(name: string): Lane {
    return this.#lanes.of(name, this.#log.end);
  }

  #refreshNextDue(after = -1): void {
    this.nextDueAt = (this.#exceptions.nextDue.get(after)?.dueAt as number | undefined) ?? Number.POSITIVE_INFINITY;
  }

  /** Without a policy a pull may have it again at once; an endpoint is given time. */
  #backoffMs(attempt: number): number {
    const { retryPolicy, pushConfig } = this.config;
    if (!retryPolicy && !pushConfig?.pushEndpoint) return 0;
    const minMs = millisecondsOf(retryPolicy?.minimumBackoff) ?? pushBackoff.minMs;
    const maxMs = millisecondsOf(retryPolicy?.maximumBackoff) ?? pushBackoff.maxMs;
    return Math.min(maxMs, minMs * 2 ** Math.min(attempt - 1, 30));
  }
}

/** Of data, attributes and ordering key, as limits and flow control count. */
export function bytesOf({ data, attributes, orderingKey = '' }: StoredMessage): number {
  let bytes = Math.floor(data.length * 0.75) + Buffer.byteLength(orderingKey);
  for (const key in attributes) bytes += Buffer.byteLength(key) + Buffer.byteLength(attributes[key]!);
  return bytes;
}

function isAfter(at: number, position: number, due: Due): boolean {
  return at > due.at || (at === due.at && position > due.position);
}
