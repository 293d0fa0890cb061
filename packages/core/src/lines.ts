import type { DeadLetter } from './dead-letter.ts';
import { depthOf, type Held, heldRef, type Line, lineRef, linesOf, released } from './order.ts';
import { idOf, refOf, type StateStore, type UnitOfWork, type Versioned } from './state-store.ts';

/** How much a subscription holds back. */
export interface HeldBack {
  /** Workflows with an event that is not settled, behind which the others wait. */
  readonly keys: number;
  /** Events that wait behind it. */
  readonly events: number;
}

const pageSize = 100;
const heldAtATime = 50;

export async function heldBack(store: StateStore, subscription: string): Promise<HeldBack> {
  let keys = 0;
  let events = 0;
  for await (const line of linesIn(store, subscription)) {
    keys++;
    events += depthOf(line);
  }
  return { keys, events };
}

/** How many wait behind each of these dead letters, in their order. */
export async function heldBehind(
  store: StateStore,
  letters: readonly { readonly tenant: string; readonly letter: DeadLetter }[],
): Promise<number[]> {
  const refs = letters.map(({ tenant, letter: { subscription, workflow } }) =>
    lineRef(subscription, tenant, workflow ?? 'workflows/none'),
  );
  const found = letters.length === 0 ? [] : await store.get(refs);
  return found.map((line, index) => {
    const { deadLetter } = (line.data ?? {}) as Partial<Line>;
    return deadLetter === letters[index]!.letter.id ? depthOf(line) : 0;
  });
}

/**
 * All that a subscription holds goes to another: into lines of its own where that has order too, or else as messages, in their
 * order. Nobody may take deliveries of the first meanwhile; a crash leaves the rest for the next time.
 */
export async function moveLines(
  store: StateStore,
  from: string,
  to: { readonly name: string; readonly isOrdered: boolean },
): Promise<number> {
  return dissolve(store, from, async (line, held) => {
    if (!to.isOrdered) return { reads: [], writes: [], publish: held.map(({ message }) => released(message, to.name)) };
    const ref = refOf('lines', to.name, 'keys', idOf(line.ref));
    const [there] = await store.get([ref]);
    const before = there!.data as Line | null;
    const own = line.data as unknown as Line;
    const { next, ...rest } = before ?? { ...own, first: 0, next: 0 };
    const moved = held.map((each, index) => ({ ref: heldRef(ref, next + index), data: { ...each } }));
    const writes = [{ ref, data: { ...rest, next: next + held.length } }, ...moved];
    return { reads: [there!], writes, publish: [] };
  });
}

/** All that a subscription holds is gone. */
export async function forgetLines(store: StateStore, subscription: string): Promise<number> {
  return dissolve(store, subscription, async () => ({ reads: [], writes: [], publish: [] }));
}

type Effects = Pick<UnitOfWork, 'reads' | 'writes' | 'publish'>;

/** Takes every line apart, some of its events at a time. */
async function dissolve(
  store: StateStore,
  subscription: string,
  put: (line: Versioned, held: readonly Held[]) => Promise<Effects>,
): Promise<number> {
  let count = 0;
  for await (const found of linesIn(store, subscription)) {
    for (let line = found; line.data !== null; [line] = (await store.get([line.ref])) as [Versioned]) {
      const data = line.data as unknown as Line;
      const { first, next } = data;
      const upTo = Math.min(next, first + heldAtATime);
      const refs = Array.from({ length: upTo - first }, (_, index) => heldRef(line.ref, first + index));
      const documents = refs.length === 0 ? [] : await store.get(refs);
      const held = documents.map(({ data }) => data as unknown as Held);
      const isLast = upTo === next;
      const { reads, writes, publish } = await put(line, held);
      const left = { ref: line.ref, data: isLast ? null : { ...data, first: upTo } };
      const gone = refs.map((ref) => ({ ref, data: null }));
      await store.commit({
        tenant: line.tenant!,
        reads: [line, ...reads],
        writes: [left, ...gone, ...writes],
        entries: [],
        journal: [],
        publish,
      });
      count += held.length;
    }
  }
  return count;
}

async function* linesIn(store: StateStore, subscription: string): AsyncGenerator<Versioned> {
  for (let cursor: string | undefined; ; ) {
    const collection = linesOf(subscription);
    const page = await store.find({ collection, limit: pageSize, ...(cursor !== undefined && { cursor }) });
    yield* page.documents;
    cursor = page.cursor;
    if (cursor === undefined) return;
  }
}
