import type { PubsubWire } from '../pubsub-wire.ts';

/** A Pub/Sub server under test. */
export interface PubsubServer extends AsyncDisposable {
  readonly wire: PubsubWire;
  /** Host and port of its gRPC: for streams, which no other wire has. */
  readonly grpc: string;
  /** What time it is there, in epoch milliseconds. */
  now(): number;
  /** Lets time pass: moved on where the server's clock can be, waited for where not. */
  pass(ms: number): Promise<void>;
}

/** What the cases are run over. */
export interface Target {
  readonly name: string;
  /** Whether names may be left out and streams be opened, as over gRPC. */
  readonly isGrpc: boolean;
  /** Whether its clock can be moved, by days as well. */
  readonly movesTime: boolean;
  /** Why a case is skipped, by the number of what is known to be wrong here. */
  readonly gaps: ReadonlyMap<number, string>;
  /** For one case, which may share the server with others at the same time. */
  open(): Promise<PubsubServer>;
}
