import { createHash } from 'node:crypto';

/** RFC 6902, what a log holds of it. */
interface PatchOperation {
  readonly op: 'add' | 'replace' | 'remove';
  readonly path: string;
  readonly value?: unknown;
}

interface Cause {
  readonly kind: 'event' | 'command';
  readonly id: string;
  readonly subscription?: string;
}

export interface PublishedEvent {
  readonly id: string;
  readonly topic: string;
  readonly data: unknown;
  /** A timer holds it back. */
  readonly timer?: string;
}

export type HistoryEntry = { readonly at: number } & (
  | {
      readonly kind: 'log';
      readonly seq: number;
      readonly hash: string;
      readonly entry: {
        readonly chain: string;
        readonly unit: string;
        readonly cause: Cause;
        readonly changes: readonly PatchOperation[];
        readonly published: readonly PublishedEvent[];
      };
    }
  | {
      readonly kind: 'journal';
      readonly entry: { readonly cause: Cause; readonly published: readonly PublishedEvent[] };
    }
);

/** What a history tells: what is wrong with it, and the documents it folds to. */
export interface ReadHistory {
  readonly problems: readonly string[];
  readonly documents: ReadonlyMap<string, unknown>;
  readonly published: readonly PublishedEvent[];
}

/** Verifies every chain of a history as an outsider would, from the entries alone, and folds them. */
export function readHistory(entries: readonly HistoryEntry[]): ReadHistory {
  const problems: string[] = [];
  const heads = new Map<string, { readonly seq: number; readonly hash: string }>();
  const documents = new Map<string, unknown>();
  const units = new Map<string, string>();
  const published = new Map<string, PublishedEvent>();
  for (const each of entries) {
    for (const event of each.entry.published) {
      if (published.has(event.id)) problems.push(`event ${event.id} (${event.topic}) is published twice`);
      published.set(event.id, event);
    }
    if (each.kind !== 'log') continue;
    const { chain, changes, unit, cause } = each.entry;
    const head = heads.get(chain) ?? { seq: 0, hash: '0'.repeat(64) };
    if (each.seq !== head.seq + 1) problems.push(`${chain}: entry ${each.seq} follows ${head.seq}`);
    const hash = sha256(`${head.hash}\n${each.seq}\n${each.at}\n${JSON.stringify(each.entry)}`);
    if (hash !== each.hash) problems.push(`${chain}: the hash of entry ${each.seq} is not that of its content`);
    heads.set(chain, { seq: each.seq, hash: each.hash });
    documents.set(chain, changes.reduce(patched, documents.get(chain)));
    // One event, one subscription, one unit of work.
    const work = `${cause.id} in ${cause.subscription ?? 'a command'}`;
    if ((units.get(work) ?? unit) !== unit) problems.push(`${work} has two units of work`);
    units.set(work, unit);
  }
  return { problems, documents, published: [...published.values()] };
}

function patched(document: unknown, { op, path, value }: PatchOperation): unknown {
  if (path === '') return op === 'remove' ? undefined : value;
  const [name, ...rest] = path.slice(1).split('/');
  const key = name!.replaceAll('~1', '/').replaceAll('~0', '~');
  const { [key]: member, ...others } = document as Record<string, unknown>;
  if (rest.length > 0) return { ...others, [key]: patched(member, { op, path: `/${rest.join('/')}`, value }) };
  return op === 'remove' ? others : { ...others, [key]: value };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
