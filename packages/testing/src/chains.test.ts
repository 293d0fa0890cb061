import type { EntryDraft, UnitOfWork } from '@dormouse/core';
import { verifiedChains } from '@dormouse/local';
import { expect, test } from 'vitest';
import { LocalStores } from './local-stores.ts';

function unit(ref: string, changes: EntryDraft['changes']): UnitOfWork {
  const cause = { kind: 'command', id: 'C1', command: 'redrive', actor: 'anna', from: 'frontend' } as const;
  const nothing = { published: [], cancelledTimers: [], startedAt: 0, durationMs: 0 };
  const entries = [{ chain: ref, unit: 'U1', cause, changes, ...nothing }];
  const writes = [{ ref, data: { state: 'redriving' } }];
  return { tenant: 'default', reads: [], writes, entries, journal: [], publish: [] };
}

test('what is kept out of the log, as a dead letter, has a chain of what was done about it', async () => {
  await using stores = LocalStores.inMemory();
  await stores.store.commit(unit('dead-letters/D1', []));
  expect([...verifiedChains(stores.database)]).toEqual([{ chain: 'dead-letters/D1', entries: 1 }]);
});

test('a workflow is never kept out of it', async () => {
  await using stores = LocalStores.inMemory();
  await stores.store.commit(unit('workflows/WF-1', []));
  const problem = 'its document is there, and by the log it is not';
  expect([...verifiedChains(stores.database)]).toEqual([{ chain: 'workflows/WF-1', entries: 1, problem }]);
});
