import { applyPatch } from './patch.ts';
import type { Ref, StateStore } from './state-store.ts';

/** A document as its chain gives it, after one of its entries. */
export interface Folded {
  /** Of the last entry that was folded. */
  readonly seq: number;
  readonly hash: string;
  /** Epoch milliseconds. */
  readonly at: number;
  /** Null where it was deleted. A personal one: its commitment, or that it was erased. */
  readonly document: Record<string, unknown> | null;
}

/** Every document of a workflow as its chain gives it, the workflow itself included. */
export async function foldedChains(store: StateStore, workflow: Ref): Promise<Map<Ref, Folded>> {
  const chains = new Map<Ref, Folded>();
  for await (const [chain, folded] of folding(store, workflow)) chains.set(chain, folded);
  return chains;
}

/** One document as it was after an entry of its chain; undefined where the chain has none of that number. */
export async function foldedAt(store: StateStore, workflow: Ref, ref: Ref, seq: number): Promise<Folded | undefined> {
  for await (const [chain, folded] of folding(store, workflow)) {
    if (chain === ref && folded.seq === seq) return folded;
  }
  return undefined;
}

async function* folding(store: StateStore, workflow: Ref): AsyncGenerator<[Ref, Folded]> {
  const documents = new Map<Ref, Record<string, unknown> | null>();
  for await (const each of store.log({ workflow })) {
    if (each.kind !== 'log') continue;
    const { chain, changes } = each.entry;
    const document = applyPatch(documents.get(chain) ?? null, changes);
    documents.set(chain, document);
    yield [chain, { seq: each.seq, hash: each.hash, at: each.at, document }];
  }
}
