/** A running system as the checks see it, wherever it runs: its console, and what it did outside. */
export interface Subject {
  /** The folder of the sandbox's record. */
  readonly data: string;
  /** What the console answers; waits for one that answers at all. Refusals are answers. */
  ask(path: string, init?: RequestInit): Promise<Response>;
  /** @throws where it is refused */
  get<T>(path: string): Promise<T>;
  /** Waits for a fact, and no longer than the run of which this is a part. */
  until<T>(fact: string, probe: () => T | Promise<T>, boundMs?: number): Promise<NonNullable<Exclude<T, false>>>;
}
