import type { Ref, Versioned, Write } from './state-store.ts';

/** What a delivery leaves that is over: whoever brings it again finds that. */
export function settled(inbox: Ref, at: number): Required<Pick<Write, 'ref' | 'data' | 'settledAt'>> {
  return { ref: inbox, data: { state: 'settled', at }, settledAt: at };
}

/** Where its recorded results are, as far as runs of it told that were committed. */
export function activitiesOf(inbox: Versioned['data']): readonly Ref[] {
  return (inbox?.activities as readonly Ref[] | undefined) ?? [];
}
