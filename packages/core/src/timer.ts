import type { Message } from './envelope.ts';
import { idOf, type Ref, refOf, type StateStore, type UnitOfWork, type Versioned } from './state-store.ts';

/**
 * A message that waits for its time: a document below its workflow's timers, one of each name.
 * The message carries the generation; the commit that takes it in consumes the timer, so a cancel or a replacement that
 * races it wins or loses cleanly.
 */
export interface Timer {
  readonly name: string;
  /** Id of the event it will publish, new each time the timer is set. A retry's timer has none: its attempt tells it apart. */
  readonly generation?: string;
  /** Epoch milliseconds. Of a retry, which waits for a duration and for no date: as it was when that was decided. */
  readonly dueAt: number;
  readonly message: Message;
  /** A commit took its message in. The mark stays, since every subscription of the topic takes the same message; the message does not. */
  readonly consumed?: true;
}

/** What stays of a timer whose message was taken in. */
export function consumed(timer: Versioned['data']): Record<string, unknown> {
  const { message: _, ...rest } = timer!;
  return { ...rest, consumed: true };
}

export function timerRef(workflow: Ref, name: string): Ref {
  return refOf('timers', idOf(workflow), 'named', name);
}

/** What a timer that is due does: its message leaves, and it waits to be consumed by the commit that takes that in. */
export function firing({ ref, version, tenant, data }: Versioned): UnitOfWork {
  const timer = data as unknown as Timer;
  // A retry's timer has done its work; its delivery is told apart by its attempt.
  const left = timer.generation === undefined ? null : data;
  return {
    tenant: tenant!,
    reads: [{ ref, version }],
    writes: [{ ref, data: left }],
    entries: [],
    journal: [],
    publish: [timer.message],
  };
}

/** @param workflow or any reference with its id */
export function timersCollection(workflow: Ref): Ref {
  return `${refOf('timers', idOf(workflow))}/named`;
}

/** The timers of a workflow that wait, or whose message is on its way. */
export async function timersOf(store: StateStore, workflow: Ref): Promise<Timer[]> {
  const collection = timersCollection(workflow);
  const timers: Timer[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await store.find({ collection, limit: 500, ...(cursor !== undefined && { cursor }) });
    const found = page.documents.map(({ data }) => data as unknown as Timer);
    timers.push(...found.filter(({ consumed }) => !consumed));
    if (page.cursor === undefined) return timers;
    cursor = page.cursor;
  }
}
