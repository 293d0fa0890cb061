import type { Ref } from '@dormouse/core';
import { Arrivals } from './arrivals.ts';
import { stops } from './journey-client.ts';

/** Journeys whose end is told by their commits: a step commits once, so the tenth commit of a journey is its last. */
export class JourneyCommits {
  readonly #arrivals = new Arrivals();
  readonly #left = new Map<Ref, number>();
  /** So far, of all journeys. */
  steps = 0;

  /** Begins the journey; resolves when it has come to its end. */
  of(journey: Ref, begin: () => Promise<unknown>): Promise<void> {
    this.#left.set(journey, stops);
    return this.#arrivals.of(journey, begin);
  }

  committed(journey: Ref): void {
    this.steps++;
    const left = this.#left.get(journey)! - 1;
    this.#left.set(journey, left);
    if (left === 0) this.#arrivals.arrive(journey);
  }
}
