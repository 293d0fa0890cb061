import { Backoffs, backoffMs } from './backoffs.ts';
import type { Batch } from './batch.ts';
import type { Database } from './database.ts';
import { Exceptions, type Unsettled } from './exceptions.ts';
import { type Filter, parseFilter } from './filter.ts';
import { KeyLines } from './key-lines.ts';
import { type Lane, Lanes } from './lanes.ts';
import { bytesOf, type Lease, type Wanted } from './lease.ts';
import { Leases } from './leases.ts';
import type { Log } from './log.ts';
import { OrderedKeys } from './ordered-keys.ts';
import { type Looks, Scan } from './scan.ts';
import type { Standing } from './standing.ts';
import { bounds, type SubscriptionConfig } from './subscription-config.ts';

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

/** A few milliseconds; then others have their turn. */
const looksAtATime = 2_048;

/**
 * A cursor into the log, and the exceptions to it.
 *
 * A message of the topic is in exactly one state:
 *   position <= cursor            settled
 *   in `exceptions`               settled ahead of the cursor, waiting, or leased (there)
 *   in `leases`                   leased; where no row says so, a crash turns it back into what it was on disk
 *   candidate of its lane         may be leased, in memory only (`lanes.ts`)
 *   suspect                       the same, apart from the lanes
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
  // The next of its key, which the scan has passed, is looked for when an ack is durable: until then the lease keeps its place.
  readonly leases = new Leases((lease) => lease.ending !== 'acked' || this.#keyOf(lease.message) !== undefined);
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
  readonly #scan: Scan;
  readonly #backoffs: Backoffs;
  readonly #keys = new OrderedKeys();
  readonly #keyLines: KeyLines;
  /** Acked, and not yet written down for certain; whether there may be a row that says otherwise. */
  readonly #settled = new Map<number, boolean>();
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
    const standing: Standing = {
      exceptions: this.#exceptions,
      log,
      lanes: this.#lanes,
      cursor: () => this.#cursor,
      retainedSince: () => this.retainedSince,
      isOut: (position) => this.leases.has(position) || this.#settled.has(position),
      isSettled: (position) => this.#settled.has(position),
      shows: (position, batch) =>
        !this.config.filter || this.#filter((batch ?? log.batch(position)!).attributesOf(position)),
      keyOf: (message) => this.#keyOf(message),
      begin: (key, position) => this.#keyLines.begin(key, position),
      drop: (position, key) => this.#drop(position, key),
    };
    this.#scan = new Scan(standing);
    this.#backoffs = new Backoffs(standing);
    this.#keyLines = new KeyLines(standing, this.#keys);
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
    return this.#lanes.hasCandidates;
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
    if (isNext) this.#scan.lookAt(lane, batches);
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
    this.#backoffs.recall(now);
    if (of !== 'company' && this.#lanes.suspects.length > 0) return true;
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
      this.#backoffs.recall(now);
      const lane = of === 'suspects' ? undefined : this.#next(looks, mayTake, max - leases.length);
      const suspect = lane || of === 'company' ? undefined : this.#lanes.suspects[0];
      let candidate = lane ? this.#lanes.peek(lane) : suspect;
      if (!candidate) break;
      // Read before it is taken from its line: a read that fails loses nothing.
      let message = candidate.message ?? this.#log.read(candidate.position);
      if (lane) this.#lanes.take(lane);
      else this.#lanes.suspects.shift();
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
        this.leases.add(lease);
        leases.push(lease);
        if (maxBytes < Number.POSITIVE_INFINITY) bytes += bytesOf(message);
        if (key === undefined) break;
        this.#keys.lease(key, position);
        if (!inRuns || leases.length >= max || bytes >= maxBytes) break;
        candidate = this.#keyLines.nextOfRun(key, position);
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
    return this.#seeking === 0 && this.leases.stands(lease);
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
    this.leases.end(position);
    const { attempt, deaths, lane, hasRow } = lease;
    const key = this.#keyOf(lease.message);
    if (key !== undefined) {
      this.#rewind(key, position);
      // Of those before it one is out: it comes up when that is settled.
      if (!this.#keys.isFree(key)) return;
    }
    this.#lanes.giveBack(lane, this.#log.end, { position, attempts: attempt - 1, deaths, hasRow, key });
  }

  /** Settles a leased message. False where the lease is gone. Durable with the next `flush`. */
  ack(position: number): boolean {
    const lease = this.leases.get(position);
    if (!lease || lease.ending === 'acked') return false;
    this.leases.end(position);
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
      this.leases.end(position);
      const key = this.#keyOf(lease.message);
      if (key !== undefined) this.#settleOf(key, lease);
    });
  }

  /** The write of an `ackNow` or a `nack` failed. */
  undoEnd(lease: Lease): void {
    if (lease.ending === 'acked') this.#settled.delete(lease.message.position);
    this.leases.standAgain(lease);
  }

  /** Lets a lease run until then. In memory; `writeExtension` makes it outlast a crash. */
  extend(lease: Lease, expiresAt: number): void {
    this.leases.extend(lease, expiresAt);
  }

  /** When the first lease ends; Infinity where none is out, or a seek is about to end all. */
  get nextExpiryAt(): number {
    return this.#seeking > 0 ? Number.POSITIVE_INFINITY : this.leases.nextExpiryAt;
  }

  /** The earliest that a waiting message becomes due, as far as known; Infinity where none waits. */
  get nextDueAt(): number {
    return this.#backoffs.nextDueAt;
  }

  /** The leases whose time is over. Told once: whoever leaves one standing is to extend it. */
  takeExpired(now: number): Lease[] {
    return this.#seeking > 0 ? [] : this.leases.takeExpired(now);
  }

  /**
   * Only inside a write: sets a leased message aside until its backoff is over. The lease ends when that is durable.
   * @param died whoever had it died meanwhile
   */
  nack(lease: Lease, now: number, died = false): void {
    const { position } = lease.message;
    lease.ending = 'nacked';
    // Most of those that a process had when it died have nothing to do with it: they go on at once, each alone.
    const failures = died ? lease.deaths : lease.attempt;
    const dueAt = failures === 0 ? now : now + backoffMs(this.config, failures);
    this.#exceptions.put.run(position, lease.attempt, lease.deaths + (died ? 1 : 0), dueAt, 0);
    lease.hasRow = true;
    this.#database.afterSync(() => {
      if (this.#ended) return;
      this.#backoffs.wait(dueAt, position);
      // Of two nacks under way, the first may have let it be leased again.
      if (this.leases.get(position) !== lease) return;
      this.leases.end(position);
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
    const none = Number.POSITIVE_INFINITY;
    const low = Math.min(this.#log.end + 1, waiting ?? none, this.leases.lowest, this.#lanes.lowest);
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
  }

  /** Lets go of what waits though it is past its retention, up to a position: it is about to be removed. */
  dropWaiting(last: number): void {
    for (const row of this.#exceptions.waitingTo.all(last)) {
      const position = row.position as number;
      if (this.leases.has(position) || this.#settled.has(position)) continue;
      this.#drop(position, this.#keyOf({ orderingKey: row.key as string | null }));
    }
  }

  /** The message of an ordering key that is to be settled first; undefined where all that is known of are. */
  firstOf(key: string): (Unsettled & { readonly messageId: string }) | undefined {
    const first = this.#keyLines.first(key);
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
      this.leases.add({ message, attempt: attempts, deaths, lane, expiresAt: dueAt!, hasRow: true, serial });
      const key = this.#keyOf(message);
      if (key !== undefined) this.#keys.lease(key, position);
    }
    this.#backoffs.findNext();
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
    this.#backoffs.clear();
    this.#settled.clear();
    this.leases.endAll();
  }

  /** Past its retention, it waits for nothing. */
  #drop(position: number, key: string | undefined): void {
    this.#settled.set(position, true);
    if (key !== undefined && !this.#keys.isActive(key)) this.#advance(key);
  }

  /** Where a lease outlasts a restart, what is on disk of it says which it is. */
  #newSerial(): number | undefined {
    return this.isExactlyOnce ? undefined : ++this.#serial;
  }

  /** The key that orders a message here; undefined where none does. */
  #keyOf({ orderingKey }: { readonly orderingKey?: string | null }): string | undefined {
    return this.config.enableMessageOrdering ? orderingKey || undefined : undefined;
  }

  /** The lane whose turn it is, with a candidate. */
  #next(looks: Looks, mayTake: (lane: string) => boolean = () => true, wanted = 1): Lane | undefined {
    return this.#lanes.next(mayTake, (lane) => this.#scan.look(lane, wanted, looks));
  }

  /** One of the key was settled. With nothing more of it out, its next message may come. */
  #advance(key: string): void {
    if (!this.#keys.isFree(key)) return;
    const next = this.#keyLines.first(key);
    const lane = next && this.#lanes.get(next.lane);
    if (next && next.dueAt === null && next.position <= (lane?.head ?? Number.POSITIVE_INFINITY)) {
      this.#keys.activate(key);
      this.#laneOf(next.lane).unseen.push({ ...next, key });
      return;
    }
    // It waits for a time, or the scan has yet to meet it.
    this.#keys.deactivate(key);
    if (next?.dueAt != null) this.#backoffs.wait(next.dueAt, next.position);
  }

  #rewind(key: string, position: number): void {
    for (const behind of this.#keys.rewind(key, position)) this.leases.end(behind);
  }

  /** A lane to put something back into, also one that had come to its end. */
  #laneOf(name: string): Lane {
    return this.#lanes.of(name, this.#log.end);
  }
}
