import {
  ConflictError,
  commitUnit,
  type EntryDraft,
  firing,
  type StateStore,
  type UnitOfWork,
  type Write,
} from '@dormouse/core';
import { describe, expect, test } from 'vitest';

/** What every state store must do. `open` gives an empty store of its own to each test; it has a topic `news`. */
export function stateStoreSuite(name: string, open: () => Promise<StateStore & AsyncDisposable>): void {
  describe(`state store: ${name}`, () => {
    test('a document that was never written reads as absent', async () => {
      await using store = await open();
      expect(await store.get(['workflows/WF-1'])).toEqual([
        { ref: 'workflows/WF-1', version: null, tenant: null, data: null },
      ]);
    });

    test('documents are answered in the order asked', async () => {
      await using store = await open();
      await store.commit(unit({ writes: [write('a/1', { n: 1 }), write('a/2', { n: 2 })] }));
      const found = await store.get(['a/2', 'a/3', 'a/1']);
      expect(found.map(({ data }) => data)).toEqual([{ n: 2 }, null, { n: 1 }]);
    });

    test('every write moves the version, and commit answers the new ones', async () => {
      await using store = await open();
      const { versions: first } = await store.commit(unit({ writes: [write('a/1', { n: 1 })] }));
      const { versions: second } = await store.commit(unit({ writes: [write('a/1', { n: 1 })] }));
      expect(second[0]).not.toBe(first[0]);
      expect((await store.get(['a/1']))[0]!.version).toBe(second[0]);
    });

    test('a document deleted and made again does not return to an old version', async () => {
      await using store = await open();
      const { versions: before } = await store.commit(unit({ writes: [write('a/1', { n: 1 })] }));
      await store.commit(unit({ writes: [write('a/1', null)] }));
      await store.commit(unit({ writes: [write('a/1', { n: 1 })] }));
      const stale = store.commit(unit({ reads: [{ ref: 'a/1', version: before[0]! }] }));
      await expect(stale).rejects.toThrow(ConflictError);
    });

    test('a unit whose read has moved is refused whole, and names what moved', async () => {
      await using store = await open();
      const { versions } = await store.commit(unit({ writes: [write('a/1', { n: 1 }), write('a/2', { n: 1 })] }));
      await store.commit(unit({ writes: [write('a/1', { n: 2 })] }));
      const reads = [
        { ref: 'a/1', version: versions[0]! },
        { ref: 'a/2', version: versions[1]! },
      ];
      const refused = store.commit(
        unit({ reads, writes: [write('a/3', { n: 1 })], entries: [entry('workflows/WF-1')] }),
      );
      await expect(refused).rejects.toMatchObject({ name: 'ConflictError', moved: ['a/1'] });
      expect((await store.get(['a/3']))[0]!.data).toBeNull();
      expect(await logOf(store, 'workflows/WF-1')).toEqual([]);
    });

    test('a document read and not written is a precondition too: no write skew', async () => {
      await using store = await open();
      await store.commit(unit({ writes: [write('on-call/ada', { on: true }), write('on-call/bob', { on: true })] }));
      const both = (await store.get(['on-call/ada', 'on-call/bob'])).map(({ ref, version }) => ({ ref, version }));
      await store.commit(unit({ reads: both, writes: [write('on-call/ada', { on: false })] }));
      const second = store.commit(unit({ reads: both, writes: [write('on-call/bob', { on: false })] }));
      await expect(second).rejects.toMatchObject({ moved: ['on-call/ada'] });
    });

    test('of many that create one document at once, one does', async () => {
      await using store = await open();
      const creations = Array.from({ length: 20 }, (_, n) =>
        store.commit(unit({ reads: [{ ref: 'a/1', version: null }], writes: [write('a/1', { n })] })),
      );
      const outcomes = await Promise.allSettled(creations);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });

    test('twenty increments at once, each on fresh reads until it commits, come to twenty', async () => {
      await using store = await open();
      await store.commit(unit({ writes: [write('a/1', { n: 0 })] }));
      const increment = async (): Promise<void> => {
        const [before] = await store.get(['a/1']);
        const n = (before!.data!.n as number) + 1;
        try {
          await store.commit(unit({ reads: [before!], writes: [write('a/1', { n })] }));
        } catch (error) {
          if (!(error instanceof ConflictError)) throw error;
          await increment();
        }
      };
      await Promise.all(Array.from({ length: 20 }, increment));
      expect((await store.get(['a/1']))[0]!.data).toEqual({ n: 20 });
    });

    test('units that meet only in the log of one document all get in, numbered without a gap', async () => {
      await using store = await open();
      const commits = Array.from({ length: 30 }, (_, n) =>
        commitUnit({ store }, unit({ entries: [entry('workflows/WF-1', `${n}`)] })),
      );
      await Promise.all(commits);
      const seqs = (await logOf(store, 'workflows/WF-1')).map((each) => each.kind === 'log' && each.seq);
      expect(seqs).toEqual(Array.from({ length: 30 }, (_, n) => n + 1));
    });

    test('so do units that meet in the log of a document of no workflow', async () => {
      await using store = await open();
      const work = unit({ writes: [write('dead-letters/D1', { n: 1 })], entries: [entry('dead-letters/D1')] });
      await Promise.all([1, 2, 3].map(() => commitUnit({ store }, work)));
      expect((await store.get(['dead-letters/D1']))[0]!.data).toEqual({ n: 1 });
    });

    test('of fifty commits at once one that is refused leaves nothing, and the others are whole', async () => {
      await using store = await open();
      const chain = 'workflows/WF-1';
      const { versions } = await store.commit(unit({ writes: [write('a/1', { n: 1 })] }));
      await store.commit(unit({ writes: [write('a/1', { n: 2 })] }));
      const commits = Array.from({ length: 50 }, (_, n) => {
        const reads = n === 25 ? [{ ref: 'a/1', version: versions[0]! }] : [];
        const writes = [write(`b/${n}`, { n }), write(`c/${n}`, { n })];
        return commitUnit({ store }, unit({ reads, writes, entries: [entry(chain, `${n}`)] }));
      });
      const outcomes = await Promise.allSettled(commits);
      expect(outcomes.flatMap(({ status }, n) => (status === 'rejected' ? [n] : []))).toEqual([25]);
      const refs = Array.from({ length: 50 }, (_, n) => [`b/${n}`, `c/${n}`]).flat();
      const found = (await store.get(refs)).filter(({ data }) => data === null).map(({ ref }) => ref);
      expect(found).toEqual(['b/25', 'c/25']);
      expect(await logOf(store, chain)).toHaveLength(49);
    });

    test('of two runs for one event, begun on the same reads, one commits; the other is told that the inbox moved', async () => {
      await using store = await open();
      const inbox = { ref: 'inbox/E1', version: null };
      const run = (n: number) =>
        unit({ reads: [inbox], writes: [write('inbox/E1', { state: 'settled' }), write('a/1', { n })] });
      await store.commit(run(1));
      await expect(store.commit(run(2))).rejects.toMatchObject({ moved: ['inbox/E1'], heads: [] });
      expect((await store.get(['a/1']))[0]!.data).toEqual({ n: 1 });
    });

    test('timers are found by when they are due, the earliest first, until they have fired', async () => {
      await using store = await open();
      const timer = (name: string, dueAt: number): Write => {
        const message = { topic: 'news', attributes: {}, data: '' };
        return { ref: `timers/WF-1/named/${name}`, data: { name, generation: name, dueAt, message }, dueAt };
      };
      await store.commit(unit({ writes: [timer('later', 300), timer('soon', 100), timer('between', 200)] }));
      await store.commit(unit({ writes: [timer('later', 250), write('timers/WF-1/named/between', null)] }));
      const names = async (now: number, limit = 10) => (await store.due(now, limit)).map(({ data }) => data!.name);
      expect(await names(99)).toEqual([]);
      expect(await names(1_000)).toEqual(['soon', 'later']);
      expect(await names(1_000, 1)).toEqual(['soon']);
      expect((await store.due(1_000, 1, ['timers/WF-1/named/soon'])).map(({ data }) => data!.name)).toEqual(['later']);
      const [soon] = await store.due(100, 1);
      await store.commit(firing(soon!));
      await expect(store.commit(firing(soon!))).rejects.toThrow(ConflictError);
      expect(await names(1_000)).toEqual(['later']);
    });

    test('a cursor that is none is refused', async () => {
      await using store = await open();
      await expect(Array.fromAsync(store.log({ workflow: 'workflows/WF-1', after: 'nowhere' }))).rejects.toMatchObject({
        code: 'query.invalid',
      });
    });

    test('the log of a workflow holds the entries of its own chain and its children, numbered by chain, in order', async () => {
      await using store = await open();
      await store.commit(unit({ entries: [entry('workflows/WF-1', 'first')] }));
      await store.commit(unit({ entries: [entry('workflows/WF-1/letters/L1', 'second')] }));
      await store.commit(unit({ entries: [entry('workflows/WF-2', 'another')] }));
      await store.commit(unit({ entries: [entry('workflows/WF-1', 'third')] }));
      const log = await logOf(store, 'workflows/WF-1');
      expect(log.map((each) => each.kind === 'log' && [each.seq, each.entry.note])).toEqual([
        [1, 'first'],
        [1, 'second'],
        [2, 'third'],
      ]);
    });

    test('the log goes on after an entry already seen', async () => {
      await using store = await open();
      for (const note of ['first', 'second', 'third'])
        await store.commit(unit({ entries: [entry('workflows/WF-1', note)] }));
      const [first] = await logOf(store, 'workflows/WF-1');
      const rest = await Array.fromAsync(store.log({ workflow: 'workflows/WF-1', after: first!.cursor }));
      expect(rest.map((each) => each.kind === 'log' && each.entry.note)).toEqual(['second', 'third']);
    });

    test('a log longer than a page comes whole', async () => {
      await using store = await open();
      const commits = Array.from({ length: 1_203 }, (_, n) =>
        store.commit(unit({ entries: [entry('workflows/WF-1', `${n}`)] })),
      );
      await Promise.all(commits);
      expect(await logOf(store, 'workflows/WF-1')).toHaveLength(1_203);
    });

    test('the journal stands among the entries, unchained', async () => {
      await using store = await open();
      await store.commit(unit({ entries: [entry('workflows/WF-1', 'before')] }));
      await store.commit(unit({ journal: [failure('workflows/WF-1')] }));
      await store.commit(unit({ entries: [entry('workflows/WF-1', 'after')] }));
      const log = await logOf(store, 'workflows/WF-1');
      expect(log.map(({ kind }) => kind)).toEqual(['log', 'journal', 'log']);
      expect(log.map((each) => each.kind === 'log' && each.seq)).toEqual([1, false, 2]);
    });

    test('a collection is found newest first, page by page, without its children', async () => {
      await using store = await open();
      for (let n = 0; n < 7; n++) {
        await store.commit(
          unit({ writes: [write(`workflows/WF-${n}`, { n }), write(`workflows/WF-${n}/letters/L1`, { n })] }),
        );
      }
      const found: unknown[] = [];
      let pages = 0;
      for (let cursor: string | undefined, more = true; more; pages++) {
        const page = await store.find({ collection: 'workflows', limit: 3, ...(cursor !== undefined && { cursor }) });
        found.push(...page.documents.map(({ data }) => data!.n));
        cursor = page.cursor;
        more = cursor !== undefined;
      }
      expect(found).toEqual([6, 5, 4, 3, 2, 1, 0]);
      expect(pages).toBe(3);
    });

    test('a tenant finds only its own', async () => {
      await using store = await open();
      for (const [tenant, id] of ['a 1', 'b 2', 'a 3', 'b 4', 'b 5', 'a 6'].map((each) => each.split(' '))) {
        await store.commit(unit({ tenant: tenant!, writes: [write(`workflows/WF-${id}`, {})] }));
      }
      const first = await store.find({ collection: 'workflows', tenant: 'b', limit: 2 });
      const rest = await store.find({ collection: 'workflows', tenant: 'b', limit: 2, cursor: first.cursor! });
      expect([first, rest].map(({ documents }) => documents.map(({ ref }) => ref))).toEqual([
        ['workflows/WF-5', 'workflows/WF-4'],
        ['workflows/WF-2'],
      ]);
      expect(rest.cursor).toBeUndefined();
      expect((await store.find({ collection: 'workflows' })).documents).toHaveLength(6);
    });

    test.each([
      ['what grows with every step', { collection: 'inbox' }],
      ['what grows with every activity', { collection: 'activities' }],
      ['one below a workflow, by tenant', { collection: 'workflows/WF-1/letters', tenant: 'a' }],
      ['what is held of all, by tenant', { collection: 'lines/s/keys', tenant: 'a' }],
      ['a name that every object has', { collection: 'constructor' }],
    ])('no index serves %s: it is refused everywhere', async (_what, query) => {
      await using store = await open();
      await expect(store.find(query)).rejects.toMatchObject({
        code: 'query.unindexed',
        message: expect.stringContaining(`no index lists the documents of "${query.collection}"`),
      });
    });

    test('the documents below a workflow are listed, whatever an app calls them', async () => {
      await using store = await open();
      await store.commit(
        unit({ writes: [write('workflows/WF-1/parcels/P1', {}), write('workflows/WF-2/parcels/P2', {})] }),
      );
      const { documents } = await store.find({ collection: 'workflows/WF-1/parcels' });
      expect(documents.map(({ ref }) => ref)).toEqual(['workflows/WF-1/parcels/P1']);
    });

    test('what a unit settles says what it said; what is not there is passed over', async () => {
      await using store = await open();
      await store.commit(unit({ writes: [write('activities/A1', { result: 1 })] }));
      await store.commit(unit({ writes: [write('a/1', {})], settles: ['activities/A0', 'activities/A1'] }));
      const found = await store.get(['a/1', 'activities/A0', 'activities/A1']);
      expect(found.map(({ data }) => data)).toEqual([{}, null, { result: 1 }]);
    });

    test('a document says whose it is, and stays so', async () => {
      await using store = await open();
      await store.commit(unit({ tenant: 'a', writes: [write('workflows/WF-1', { n: 1 })] }));
      await store.commit(unit({ tenant: 'a', writes: [write('workflows/WF-1', { n: 2 })] }));
      expect(await store.get(['workflows/WF-1'])).toMatchObject([{ tenant: 'a', data: { n: 2 } }]);
    });

    test.each([{ n: 2 }, null])(
      'another tenant’s document is not written over (%j), and nothing else of the unit is done',
      async (data) => {
        await using store = await open();
        await store.commit(unit({ tenant: 'a', writes: [write('workflows/WF-1', { n: 1 })] }));
        const refused = store.commit(
          unit({ tenant: 'b', writes: [write('other/1', {}), write('workflows/WF-1', data)] }),
        );
        await expect(refused).rejects.toMatchObject({ code: 'document.exists' });
        expect(await store.get(['workflows/WF-1', 'other/1'])).toMatchObject([
          { tenant: 'a', data: { n: 1 } },
          { data: null },
        ]);
      },
    );
  });
}

function unit(parts: Partial<UnitOfWork>): UnitOfWork {
  return { tenant: 'default', reads: [], writes: [], entries: [], journal: [], publish: [], ...parts };
}

function write(ref: string, data: Record<string, unknown> | null): Write {
  return { ref, data };
}

function entry(chain: string, note = ''): EntryDraft {
  return {
    chain,
    unit: `unit ${note}`,
    cause: { kind: 'command', id: 'C1', command: 'test', actor: 'tester', from: 'test' },
    changes: [],
    published: [],
    cancelledTimers: [],
    note,
    startedAt: 0,
    durationMs: 0,
  };
}

function failure(workflow: string): UnitOfWork['journal'][number] {
  return {
    workflow,
    moment: 'attempt.failed',
    inbox: 'inbox/E1',
    unit: 'U1',
    cause: { kind: 'event', id: 'E1', topic: 't', subscription: 's.t', attempt: 1, from: '//x' },
    error: { code: 'step.failed', message: 'no' },
    decision: { kind: 'retry', at: 1 },
    published: [],
    startedAt: 0,
    durationMs: 0,
  };
}

function logOf(store: StateStore, workflow: string) {
  return Array.fromAsync(store.log({ workflow }));
}
