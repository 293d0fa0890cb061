import type { StatementSync } from 'node:sqlite';
import { isDeepStrictEqual } from 'node:util';
import {
  applyPatch,
  chainHash,
  commitmentOf,
  difference,
  type EntryDraft,
  erasedMark,
  firstHash,
  isCommitment,
  isSealed,
  type Ref,
  workflowOf,
  workflows,
} from '@dormouse/core';
import type { ExportedHeads } from './heads.ts';

/** What the log says of one document, computed anew. */
export interface Chain {
  /** The document whose chain it is. */
  readonly chain: Ref;
  readonly entries: number;
  /** The first thing that is wrong with it; undefined where it holds. */
  readonly problem?: string;
}

/** The store's tables, to be read. */
interface Tables {
  prepare(sql: string): StatementSync;
}

/** The last entry of a chain. */
export interface Head {
  readonly seq: number;
  readonly hash: string;
}

interface ChainedEntry extends Head {
  readonly chain: Ref;
  readonly at: number;
  readonly body: string;
}

interface Folded extends Head {
  readonly document: Record<string, unknown> | null;
  readonly problem?: string;
}

/**
 * Goes through the log from its first entry on, workflow by workflow: each entry must have the hash that its content and the
 * entry before it give, the last must be the head, and all changes together must give the document as it is.
 * @param workflow only this one and what is below it. Default: all
 * @param exported what the heads were once: each chain must still have that entry, however it grew since
 */
export function* verifiedChains(database: Tables, workflow?: Ref, exported?: ExportedHeads): Generator<Chain> {
  const entriesOf = database.prepare(
    'SELECT chain, seq, hash, at, body FROM entry WHERE workflow IS ? AND chain IS NOT NULL ORDER BY position',
  );
  // `0` follows `/`.
  const below = database.prepare('SELECT ref, data FROM document WHERE ref > ? AND ref < ?');
  const documentOf = database.prepare('SELECT data FROM document WHERE ref = ?');
  const unseen = new Map(exported?.heads);
  const rewritten = new Set<Ref>();
  for (const [of, heads] of headsByWorkflow(database, workflow)) {
    const chains = new Map<Ref, Folded>();
    for (const entry of entriesOf.iterate(of) as Iterable<unknown> as Iterable<ChainedEntry>) {
      const { chain, seq, hash } = entry;
      chains.set(chain, next(chains.get(chain), entry));
      const then = unseen.get(chain);
      if (then && then.seq === seq && then.hash !== hash) rewritten.add(chain);
    }
    for (const [chain, { seq }] of heads) {
      if (chains.has(chain)) continue;
      unseen.delete(chain);
      yield { chain, entries: 0, problem: `its head is entry ${seq}, its last entry is missing` };
    }
    for (const [chain, folded] of chains) {
      const then = unseen.get(chain);
      unseen.delete(chain);
      const row = documentOf.get(chain);
      const document = row ? JSON.parse(row.data as string) : null;
      const problem =
        folded.problem ??
        headProblem(folded, heads.get(chain)) ??
        historyProblem(folded, then, rewritten.has(chain), exported?.at) ??
        // Of a dead letter the chain tells what was done with it, not what it is.
        (workflowOf(chain) === undefined ? undefined : documentProblem(folded, document));
      yield { chain, entries: folded.seq, ...(problem !== undefined && { problem }) };
    }
    if (of !== null && chains.size === 0 && heads.size === 0) {
      yield { chain: of, entries: 0, problem: slippedIn };
    } else if (of !== null) {
      // Programs of before kept no chain of personal documents: where there is no commitment yet, one may lack it.
      const committed = [...chains.values()].some(({ document }) => isCommitment(document) || isErased(document));
      for (const row of below.iterate(`${of}/`, `${of}0`)) {
        const chain = row.ref as Ref;
        if (chains.has(chain) || heads.has(chain)) continue;
        if (committed || isSealed(JSON.parse(row.data as string))) yield { chain, entries: 0, problem: slippedIn };
      }
    }
  }
  for (const [chain, { seq }] of unseen) {
    if (workflow !== undefined && workflowOf(chain) !== workflow) continue;
    yield { chain, entries: 0, problem: `it is gone, and had ${seq} entries at ${exported!.at}` };
  }
}

/** The chains that there should be, by workflow; by null those of none. */
function headsByWorkflow(database: Tables, workflow: Ref | undefined): Map<Ref | null, Map<Ref, Head>> {
  const found = new Map<Ref | null, Map<Ref, Head>>();
  const note = (of: Ref | null) => {
    const heads = found.get(of) ?? new Map<Ref, Head>();
    if (workflow === undefined || of === workflow) found.set(of, heads);
    return heads;
  };
  for (const { chain, seq, hash } of database.prepare('SELECT chain, seq, hash FROM head').iterate()) {
    note(workflowOf(chain as Ref) ?? null).set(chain as Ref, { seq: seq as number, hash: hash as string });
  }
  const others = database.prepare(
    `SELECT DISTINCT workflow FROM entry WHERE chain IS NOT NULL UNION SELECT ref FROM document WHERE collection = '${workflows}'`,
  );
  for (const row of others.iterate()) note(row.workflow as Ref | null);
  return found;
}

function next(before: Folded | undefined, { seq, hash, at, body }: ChainedEntry): Folded {
  const { document, ...last } = before ?? { seq: 0, hash: firstHash, document: null };
  if (before?.problem !== undefined) return { ...before, seq, hash };
  if (seq !== last.seq + 1) return { seq, hash, document, problem: `entry ${last.seq + 1} is missing` };
  if (chainHash(last.hash, seq, at, body) !== hash) {
    return { seq, hash, document, problem: `entry ${seq} was changed` };
  }
  try {
    return { seq, hash, document: applyPatch(document, (JSON.parse(body) as EntryDraft).changes) };
  } catch (error) {
    return {
      seq,
      hash,
      document,
      problem: `entry ${seq} does not follow from those before it: ${(error as Error).message}`,
    };
  }
}

function headProblem({ seq, hash }: Folded, head: Head | undefined): string | undefined {
  if (!head) return 'it has no head';
  return head.seq === seq && head.hash === hash ? undefined : `its head is entry ${head.seq}, its last entry ${seq}`;
}

function historyProblem(
  { seq }: Folded,
  then: Head | undefined,
  rewritten: boolean,
  at: string | undefined,
): string | undefined {
  if (rewritten) return `it was rewritten: entry ${then!.seq} is not the one that was exported at ${at}`;
  if (!then || seq >= then.seq) return undefined;
  return `it was cut short: it ends at entry ${seq}, and had ${then.seq} at ${at}`;
}

const slippedIn = 'its document is there, and by the log it is not';

function documentProblem({ document }: Folded, found: Record<string, unknown> | null): string | undefined {
  if (isDeepStrictEqual(document, found)) return undefined;
  if (isErased(document)) return found === null ? undefined : 'its document was erased, and is there again';
  if (isCommitment(document) && isDeepStrictEqual(document, commitmentOf(found))) return undefined;
  if (found === null) return 'its document is missing';
  if (document === null) return slippedIn;
  if (isCommitment(document)) return 'its document is not the one that the log commits to';
  return `its document is not what the log gives: it differs at ${difference(document, found)[0]?.path}`;
}

function isErased(document: Record<string, unknown> | null): boolean {
  return isDeepStrictEqual(document, erasedMark);
}
