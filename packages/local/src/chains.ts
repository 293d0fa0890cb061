import type { DatabaseSync } from 'node:sqlite';
import { chainHash, firstHash } from '@dormouse/core';

export interface BrokenChain {
  /** The document whose chain it is. */
  readonly chain: string;
  readonly problem: string;
}

interface Head {
  readonly chain: string;
  readonly seq: number;
  readonly hash: string;
}

interface ChainedEntry extends Head {
  readonly at: number;
  readonly body: string;
}

/**
 * Computes the hash chain of every document anew, from its first entry to its head.
 * @returns how many chains there are, and the first thing wrong with each that does not hold
 */
export function verifyChains(database: DatabaseSync): { readonly chains: number; readonly broken: BrokenChain[] } {
  const reached = new Map<string, Pick<Head, 'seq' | 'hash'>>();
  const broken = new Map<string, string>();
  const entries = database
    .prepare('SELECT chain, seq, hash, at, body FROM entry WHERE chain IS NOT NULL ORDER BY position')
    .iterate() as Iterable<unknown> as Iterable<ChainedEntry>;
  for (const { chain, seq, hash, at, body } of entries) {
    const before = reached.get(chain) ?? { seq: 0, hash: firstHash };
    if (!broken.has(chain)) {
      if (seq !== before.seq + 1) broken.set(chain, `entry ${before.seq + 1} is missing`);
      else if (chainHash(before.hash, seq, at, body) !== hash) broken.set(chain, `entry ${seq} was changed`);
    }
    reached.set(chain, { seq, hash });
  }
  const heads = database.prepare('SELECT chain, seq, hash FROM head').all() as unknown as Head[];
  for (const { chain, seq, hash } of heads) {
    const last = reached.get(chain);
    reached.delete(chain);
    if (!broken.has(chain) && (last?.seq !== seq || last.hash !== hash)) {
      broken.set(chain, `its head is entry ${seq}, its last entry ${last?.seq ?? 'missing'}`);
    }
  }
  for (const chain of reached.keys()) if (!broken.has(chain)) broken.set(chain, 'it has no head');
  return {
    chains: heads.length + reached.size,
    broken: [...broken].map(([chain, problem]) => ({ chain, problem })),
  };
}
