import type { Actor, Clock, Delivery, DormouseError, Duration, Entry, Ref } from '@dormouse/core';
import type { Choices } from './choices.ts';
import type { OutsideCalls } from './outside-calls.ts';

/** What a system's module `simulation` exports: the world around it, what happens there, and what must hold. */
export interface Simulation<Outside = unknown> {
  /** Settings of the services, as their environment has them. */
  readonly environment?: Readonly<Record<string, string>>;
  /** How long things go wrong, from the beginning. Default 1d. Afterwards all goes well, until nothing moves any more. */
  readonly faultsFor?: Duration;
  /**
   * The outside world of one run: makes the services reach it (through `world.outside.call`) instead of the real one, and
   * answers its record, for the invariants.
   */
  readonly outside?: (world: World) => Outside;
  /** Answers whatever services ask for by the global `fetch`, in place of the network. Default: `fetch` is left as it is. */
  readonly fetch?: (request: Request, outside: Outside, world: World) => Promise<Response>;
  /** What clients, operators and others do in one run. Each act may be left out: a failure is shrunk to those it needs. */
  readonly acts: (world: World, outside: Outside) => readonly Act[];
  /** What an operator does when all goes well again and nothing moves, for instance redrive dead letters. Up to ten times, until it does nothing. */
  readonly mend?: (world: World, facts: Facts<Outside>) => Promise<void>;
  readonly invariants?: readonly Invariant<Outside>[];
  /** What services do that are other commands, by service. Default: they take every message. */
  readonly foreign?: Readonly<Record<string, (delivery: Delivery, world: World) => Promise<void>>>;
}

/** Something that is done at a time, from the beginning. */
export interface Act {
  /** No other act of the run has it. */
  readonly name: string;
  /** Default: at once. */
  readonly after?: Duration;
  readonly run: () => Promise<void>;
}

/** What must hold when all is at rest. Throws, or answers what is wrong: nothing, one thing, or several. */
export interface Invariant<Outside = unknown> {
  readonly name: string;
  readonly check: (
    facts: Facts<Outside>,
  ) => undefined | string | readonly string[] | Promise<undefined | string | readonly string[]>;
}

/** One run, as those see it who live in it. */
export interface World {
  readonly seed: number;
  /** By this, whatever happens later. */
  readonly clock: Clock;
  /** By name: the same for the same seed, whatever else is drawn. */
  readonly chance: Choices;
  readonly outside: OutsideCalls;
  /** Gives a command, again and again under the same Idempotency-Key until it is answered, as a careful client does. */
  command(name: string, request?: CommandCall): Promise<CommandAnswer>;
  /** The same once. Rejects where the host does not answer. */
  tryCommand(name: string, request?: CommandCall): Promise<CommandAnswer>;
  /** Called when the run is over. */
  onEnd(callback: () => void): void;
  /** A remark for the trace. */
  note(text: string): void;
}

export interface CommandCall {
  readonly body?: unknown;
  readonly params?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Who gives it. Default: an administrator of the default tenant. */
  readonly as?: Actor;
}

export type CommandAnswer<T = unknown> =
  | { readonly ok: true; readonly output: T }
  /** It will be no other: the input is malformed, or does not fit the state. */
  | { readonly ok: false; readonly refused: DormouseError };

/** What is there when all is at rest. */
export interface Facts<Outside = unknown> {
  readonly documents: Documents;
  /** Log and journal, in the order of commits. */
  readonly log: readonly Entry[];
  /** All that were stored, by key: a `FileRef` has it. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly outside: Outside;
  readonly now: number;
}

export interface StoredDocument<T = Record<string, unknown>> {
  readonly ref: Ref;
  readonly id: string;
  readonly data: T;
}

export interface Documents {
  readonly all: readonly StoredDocument[];
  get<T>(ref: Ref): T | undefined;
  /** Of one collection: `workflows`, or below a document, `workflows/WF-1/letters`. */
  in<T>(collection: Ref): readonly StoredDocument<T>[];
}

/** Declares the simulation of a system. */
export function simulation<Outside = undefined>(definition: Simulation<Outside>): Simulation<Outside> {
  return definition;
}

/** Declares what must hold when all is at rest. */
export function invariant<Outside = unknown>(name: string, check: Invariant<Outside>['check']): Invariant<Outside> {
  return { name, check };
}
