import type { DeadLetter } from './dead-letter.ts';
import {
  depthOf,
  type Held,
  heldRef,
  inboxRef,
  isSameEvent,
  type Line,
  lineRef,
  linesOf,
  type Order,
  released,
} from './order.ts';
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
 * order. Where that has a line of the same workflow with trouble of its own, all of it joins its end, and a place before it is kept for
 * whose turn it was: its message comes by other ways. Nobody may take deliveries of the first meanwhile; a crash leaves the rest for the next time.
 */
export async function moveLines(
  store: StateStore,
  from: string,
  to: { readonly name: string; readonly order?: Order | undefined },
): Promise<number> {
  const { name, order } = to;
  return dissolve(store, from, async (line, held) => {
    if (!order) {
      const publish = held.flatMap(({ message }) => (message ? [released(message, name)] : []));
      return { reads: [], writes: [], publish };
    }
    const ref = refOf('lines', name, 'keys', idOf(line.ref));
    const { turn, since, deadLetter } = line.data as unknown as Line;
    const dead = deadLetter === undefined ? {} : { deadLetter };
    const begun: Line = { turn, since, ...dead, poison: order.poison, first: 0, next: 0 };
    const [there, memory] = await store.get([ref, inboxRef(name, turn)]);
    const before = there!.data as Line | null;
    const { next, expected = [], ...rest } = before ?? begun;
    // Of what the other knows already it has its place there.
    const isKnown = memory!.data !== null || [rest.turn, ...expected.map(({ event }) => event)].some(isSameEvent(turn));
    const blocker: Held = { event: turn, at: since, ...dead };
    const joining = [...(isKnown ? [] : [blocker]), ...held].map((each, index) => ({ each, number: next + index }));
    const yetToCome = joining.flatMap(({ each, number }) => (each.message ? [] : [{ event: each.event, number }]));
    const data = {
      ...rest,
      next: next + joining.length,
      ...(expected.length + yetToCome.length > 0 && { expected: [...expected, ...yetToCome] }),
    };
    const places = joining.map(({ each, number }) => ({ ref: heldRef(ref, number), data: { ...each } }));
    return { reads: [there!, memory!], writes: [{ ref, data }, ...places], publish: [] };
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
      const held = documents.flatMap(({ data }) => (data === null ? [] : [data as unknown as Held]));
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
