import type { Batch } from './batch.ts';
import type { Exceptions } from './exceptions.ts';
import type { Lanes } from './lanes.ts';
import type { Log } from './log.ts';

/** How the messages of a subscription stand, for those who look for the next: `scan.ts` among the unseen, `backoffs.ts` among what waits, `key-lines.ts` by their key. */
export interface Standing {
  readonly exceptions: Exceptions;
  readonly log: Log;
  /** Where what is found goes. */
  readonly lanes: Lanes;
  cursor(): number;
  /** Messages published before are gone from it. */
  retainedSince(): number;
  /** Leased, or settled and not yet written down for certain. */
  isOut(position: number): boolean;
  /** Settled and not yet written down for certain. */
  isSettled(position: number): boolean;
  /** Its filter lets it pass. @param batch that holds it; read where it is needed and not given */
  shows(position: number, batch?: Batch): boolean;
  /** What orders a message; undefined where nothing does. */
  keyOf(message: { readonly orderingKey?: string | null }): string | undefined;
  /** Makes a key active by its first message; false where it is active already, or this is not its first. */
  begin(key: string, position: number): boolean;
  /** Settles what waits past its retention. */
  drop(position: number, key: string | undefined): void;
}
