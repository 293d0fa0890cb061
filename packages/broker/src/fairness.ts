import type { PubsubMessage } from './log.ts';

/** Which lane a message is in, and whether there is more than one: lanes take turns on every subscription (`lanes.ts`). */
export class Fairness {
  readonly #by: string | undefined;
  /** The first seen since the start, of a message that came or waited. */
  #first: string | undefined;
  #hasSeveral = false;

  /** @param by the attribute in which messages of different lanes differ; undefined for one lane */
  constructor(by: string | undefined) {
    this.#by = by;
  }

  /** There were messages of more than one. */
  get hasSeveralLanes(): boolean {
    return this.#hasSeveral;
  }

  notice(lane: string): void {
    this.#first ??= lane;
    if (lane !== this.#first) this.#hasSeveral = true;
  }

  /** Messages in their order, cut where the lane changes: an ordering key may be of several. */
  *runsOf(messages: readonly PubsubMessage[]): Generator<[lane: string, run: readonly PubsubMessage[]]> {
    for (let from = 0, to = 1; from < messages.length; from = to++) {
      const lane = this.#laneOf(messages[from]!);
      while (to < messages.length && this.#laneOf(messages[to]!) === lane) to++;
      yield [lane, messages.slice(from, to)];
    }
  }

  #laneOf({ attributes }: PubsubMessage): string {
    return (this.#by !== undefined && attributes[this.#by]) || '';
  }
}
