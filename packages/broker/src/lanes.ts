import type { StoredMessage } from './log.ts';

/** A message that may be leased: its place, and how often it has been. */
export interface Candidate {
  readonly position: number;
  readonly attempts: number;
  readonly deaths: number;
  readonly hasRow: boolean;
  /** What orders it, where something does. */
  readonly key: string | undefined;
  /** Where it is small. */
  readonly message?: StoredMessage | undefined;
}

/** The messages that take turns with those of other lanes: a tenant's. */
export interface Lane {
  readonly name: string;
  /** Looked at up to here. */
  head: number;
  /** There are none after this one, as far as known: looked at up to here, it has come to its end. */
  end: number;
  /** Found in the log. */
  readonly unseen: Candidate[];
  /** With a backoff behind them, which may have been none. */
  readonly recalled: Candidate[];
  wasRecalled: boolean;
}

/** A candidate that a process died of, or of another that it held with it: to be given to a process alone. */
export interface Suspect extends Candidate {
  readonly lane: string;
}

/** A lane's; there are as many lanes as tenants with a backlog, and all of it is in memory. */
export const candidatesAtATime = 32;
/** Of all lanes together, unless there are more lanes. */
const mostCandidates = 2_048;

/**
 * The lanes of a subscription, in the order of their turns: one message each. In a lane what was seen before and what was not take
 * turns as well, so that neither a consumer who fails on everything nor a burst that comes back keeps the other from its
 * turn. A lane is in memory while it has, or may have, something to lease. Suspects are apart from the lanes, in one line.
 */
export class Lanes {
  readonly #lanes = new Map<string, Lane>();
  readonly suspects: Suspect[] = [];
  /** In all lanes. */
  recalled = 0;

  get names(): Iterable<string> {
    return this.#lanes.keys();
  }

  get hasCandidates(): boolean {
    return this.suspects.length > 0 || this.#lanes.values().some(hasCandidates);
  }

  /** Not everything was looked at. */
  get isBehind(): boolean {
    return this.#lanes.values().some(({ head, end }) => head < end);
  }

  get(name: string): Lane | undefined {
    return this.#lanes.get(name);
  }

  /** A lane, and where it is not in memory one that has come to its end there. */
  of(name: string, end: number): Lane {
    const known = this.#lanes.get(name);
    if (known) return known;
    const lane: Lane = { name, head: end, end, unseen: [], recalled: [], wasRecalled: false };
    this.#lanes.set(name, lane);
    return lane;
  }

  /** The lane whose turn it is, with a candidate. Those that have come to their end are forgotten. @param look fills `unseen` */
  next(mayTake: (lane: string) => boolean, look: (lane: Lane) => void): Lane | undefined {
    for (const lane of this.#lanes.values()) {
      if (!mayTake(lane.name)) continue;
      if (lane.unseen.length === 0) look(lane);
      if (hasCandidates(lane)) return lane;
      if (lane.head >= lane.end) this.#lanes.delete(lane.name);
    }
    return undefined;
  }

  /** What `take` would. */
  peek(lane: Lane): Candidate | undefined {
    return lineOf(lane)[0];
  }

  /** Takes the candidate whose turn it is in a lane, and ends the turn of the lane. */
  take(lane: Lane): void {
    const line = lineOf(lane);
    line.shift();
    lane.wasRecalled = line === lane.recalled;
    if (lane.wasRecalled) this.recalled--;
    if (this.#lanes.size < 2) return;
    this.#lanes.delete(lane.name);
    this.#lanes.set(lane.name, lane);
  }

  /** @param end as `of` has it */
  recall(name: string, end: number, candidate: Candidate): void {
    if (candidate.deaths > 0) {
      this.suspects.push({ ...candidate, lane: name });
      return;
    }
    this.of(name, end).recalled.push(candidate);
    this.recalled++;
  }

  /** Nobody saw it: it is the first of its line again. @param end as `of` has it */
  giveBack(name: string, end: number, candidate: Candidate): void {
    if (candidate.deaths > 0) {
      this.suspects.unshift({ ...candidate, lane: name });
      return;
    }
    const lane = this.of(name, end);
    if (candidate.attempts === 0) lane.unseen.unshift(candidate);
    else {
      lane.recalled.unshift(candidate);
      this.recalled++;
    }
  }

  /** How many of a lane to have in memory: the more lanes there are, the fewer of each. @param least of one alone */
  share(least: number, alone = least): number {
    return this.#lanes.size > 1
      ? Math.min(least, Math.ceil(mostCandidates / this.#lanes.size))
      : Math.max(least, alone);
  }

  /** The lowest position that may be leased or was not looked at. */
  get lowest(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const { position } of this.suspects) lowest = Math.min(lowest, position);
    for (const { head, end, unseen, recalled } of this.#lanes.values()) {
      if (head < end) lowest = Math.min(lowest, head + 1);
      for (const { position } of unseen) lowest = Math.min(lowest, position);
      for (const { position } of recalled) lowest = Math.min(lowest, position);
    }
    return lowest;
  }

  clear(): void {
    this.#lanes.clear();
    this.suspects.length = 0;
    this.recalled = 0;
  }
}

function hasCandidates({ unseen, recalled }: Lane): boolean {
  return unseen.length > 0 || recalled.length > 0;
}

function lineOf({ unseen, recalled, wasRecalled }: Lane): Candidate[] {
  if (unseen.length === 0) return recalled;
  return recalled.length === 0 || wasRecalled ? unseen : recalled;
}
