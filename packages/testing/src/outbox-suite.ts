import { type Clock, type StateStore, type UnitOfWork, unsentAtATime } from '@dormouse/core';
import { describe, expect, test } from 'vitest';
import { SetClock } from './set-clock.ts';

/** What a state store apart from its broker must do besides. `open` gives an empty one to each test. */
export function outboxSuite(name: string, open: (clock?: Clock) => Promise<StateStore & AsyncDisposable>): void {
  describe(`outbox: ${name}`, () => {
    test('what a unit publishes is unsent, in its order, until it is said to be sent', async () => {
      await using store = await open();
      const { unsent } = await store.commit(publishing('WF-1', 'a', 'b', 'c'));
      expect(unsent.map(nameOf)).toEqual(['a', 'b', 'c']);
      await store.sent([unsent[1]!.id]);
      expect((await store.unsent({})).map(nameOf)).toEqual(['a', 'c']);
      await store.sent(unsent.map(({ id }) => id));
      expect(await store.unsent({})).toEqual([]);
    });

    test('a message comes back as it was committed', async () => {
      await using store = await open();
      const unit = publishing('WF-1', 'a “quoted” name \u0000');
      expect((await store.commit(unit)).unsent.map(({ message }) => message)).toEqual(unit.publish);
      expect((await store.unsent({})).map(({ message }) => message)).toEqual(unit.publish);
    });

    test('a unit brings what earlier ones of its workflow left, first, and nothing of others', async () => {
      await using store = await open();
      await store.commit(publishing('WF-1', 'a'));
      await store.commit(publishing('WF-2', 'x'));
      await store.commit(publishing('WF-1', 'b'));
      const { unsent } = await store.commit(publishing('WF-1', 'c'));
      expect(unsent.map(nameOf)).toEqual(['a', 'b', 'c']);
    });

    test('so does a unit that publishes nothing, and only grows the log of the workflow', async () => {
      await using store = await open();
      await store.commit(publishing('WF-1', 'a'));
      const cause = { kind: 'command', id: 'C1', command: 'test', actor: 'tester', from: 'test' } as const;
      const nothing = { changes: [], published: [], cancelledTimers: [], startedAt: 0, durationMs: 0 };
      const entries = [{ chain: 'workflows/WF-1/letters/L1', unit: 'U1', cause, ...nothing }];
      const { unsent } = await store.commit({ ...publishing('WF-1'), entries });
      expect(unsent.map(nameOf)).toEqual(['a']);
    });

    test('what is to be passed over is not told, nor counted', async () => {
      await using store = await open();
      const { unsent } = await store.commit(publishing('WF-1', 'a', 'b', 'c', 'd'));
      const except = unsent.slice(0, 2).map(({ id }) => id);
      expect((await store.unsent({ except, limit: 1 })).map(nameOf)).toEqual(['c']);
      expect((await store.unsent({ except, workflow: 'workflows/WF-1' })).map(nameOf)).toEqual(['c', 'd']);
      expect(await store.unsent({ except: unsent.map(({ id }) => id), limit: 1 })).toEqual([]);
    });

    test('of units that are refused nothing is left', async () => {
      await using store = await open();
      const write = { ...publishing('WF-1'), writes: [{ ref: 'a/1', data: {} }] };
      const { versions } = await store.commit(write);
      await store.commit(write);
      const stale = { reads: [{ ref: 'a/1', version: versions[0]! }] };
      await expect(store.commit({ ...publishing('WF-1', 'a'), ...stale })).rejects.toThrow('moved');
      expect(await store.unsent({})).toEqual([]);
    });

    test('what is about no workflow comes with its own unit only', async () => {
      await using store = await open();
      await store.commit(publishing(undefined, 'a'));
      const { unsent } = await store.commit(publishing(undefined, 'b'));
      expect(unsent.map(nameOf)).toEqual(['b']);
      expect((await store.unsent({})).map(nameOf)).toEqual(['a', 'b']);
    });

    test('it is asked for by workflow, by number, and by when it was committed, the oldest first', async () => {
      await using store = await open();
      await store.commit(publishing('WF-1', 'a', 'b'));
      await store.commit(publishing('WF-2', 'x'));
      await store.commit(publishing('WF-1', 'c'));
      const asked = async (query: Parameters<StateStore['unsent']>[0]) => (await store.unsent(query)).map(nameOf);
      expect(await asked({ workflow: 'workflows/WF-1' })).toEqual(['a', 'b', 'c']);
      expect(await asked({ workflow: 'workflows/WF-1', limit: 2 })).toEqual(['a', 'b']);
      expect(await asked({ limit: 3 })).toHaveLength(3);
      expect((await asked({})).filter((each) => each !== 'x')).toEqual(['a', 'b', 'c']);
      expect(await asked({ before: 1 })).toEqual([]);
    });

    test('a clock that is set back holds up nothing, and changes no order', async () => {
      const clock = new SetClock();
      await using store = await open(clock);
      await store.commit(publishing('WF-1', 'a'));
      clock.set(-86_400_000);
      const { unsent } = await store.commit(publishing('WF-1', 'b'));
      expect(unsent.map(nameOf)).toEqual(['a', 'b']);
      expect((await store.unsent({ before: clock.now() })).map(nameOf)).toEqual(['a']);
    });

    test('a clock that is ahead of the one that commits next changes no order of what is swept', async () => {
      const clock = new SetClock();
      await using store = await open(clock);
      await store.commit(publishing('WF-1', 'a'));
      clock.set(-5_000);
      await store.commit(publishing('WF-1', 'b'));
      clock.pass(12_000);
      await store.commit(publishing('WF-1', 'c'));
      // By the dates of their commits, only `b` is old enough.
      const before = clock.now() - 10_000;
      expect((await store.unsent({ before })).map(nameOf)).toEqual(['a', 'b']);
      expect((await store.unsent({ before, workflow: 'workflows/WF-1' })).map(nameOf)).toEqual(['a', 'b']);
    });

    test('of more than fits at once the oldest come first, and a unit’s own wait until they are sent', async () => {
      await using store = await open();
      const names = Array.from({ length: unsentAtATime + 50 }, (_, n) => `${n}`);
      for (let n = 0; n < names.length; n += 100) await store.commit(publishing('WF-1', ...names.slice(n, n + 100)));
      let { unsent } = await store.commit(publishing('WF-1', 'new'));
      const arrived: string[] = [];
      for (; unsent.length > 0; unsent = await store.unsent({ workflow: 'workflows/WF-1' })) {
        arrived.push(...unsent.map(nameOf));
        await store.sent(unsent.map(({ id }) => id));
      }
      expect(arrived).toEqual([...names, 'new']);
    });

    test('a hundred commits at once to one workflow leave one order, which all that follows keeps', async () => {
      await using store = await open();
      const names = Array.from({ length: 100 }, (_, n) => `${n}`);
      const commits = await Promise.all(names.map((each) => store.commit(publishing('WF-1', each))));
      const order = (await store.unsent({ workflow: 'workflows/WF-1' })).map(nameOf);
      expect(order.toSorted()).toEqual(names.toSorted());
      for (const { unsent } of commits) expect(unsent.map(nameOf)).toEqual(order.slice(0, unsent.length));
    });
  });
}

function publishing(workflow: string | undefined, ...names: readonly string[]): UnitOfWork {
  const about: Record<string, string> = workflow === undefined ? {} : { 'ce-subject': `workflows/${workflow}` };
  const publish = names.map((each) => ({ topic: 'news', attributes: { ...about, name: each }, data: '' }));
  return { tenant: 'default', reads: [], writes: [], entries: [], journal: [], publish };
}

function nameOf({ message }: Awaited<ReturnType<StateStore['unsent']>>[number]): string {
  return message.attributes.name!;
}
