// What is left of personal data once it is erased: nothing, wherever the erasure was broken off and whatever runs later.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { FileRef, Handler } from '@dormouse/core';
import { expect, test } from 'vitest';
import { ada, admin, PersonalBench, people, thing, wf } from './personal-bench.ts';

/** A person, a file that the case names, one that nothing names, and the result of an activity: all of them personal. */
const leavesPlanted: Handler<{ n: number }> = async (_event, step) => {
  (await step.document(people, 'ada')).create({ name: 'Planted Name' });
  await step.files.put('lost.txt', 'Planted Loss', { personal: true });
  const file = await step.files.put('note.txt', 'Planted Text', { personal: true });
  await step.run('ask', 'Planted Question', async () => 'Planted Answer', { personal: true });
  (await step.workflow(thing)).update({ file });
};

test('what is erased is gone from database, log and files, to the last byte; the chains say so and hold', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(leavesPlanted);
  await bench.handle(async (_event, step) => (await step.document(people, 'ada')).update({ name: 'Planted Again' }));
  expect(bench.bytes()).toContain('Planted');
  expect(await bench.erase()).toEqual({ workflows: [{ id: 'WF-1', documents: 1, activities: 1, files: 4 }] });
  expect(bench.bytes()).not.toContain('Planted');
  expect(bench.problems()).toEqual([]);
  expect((await bench.changes(ada)).at(-1)).toEqual([
    { op: 'remove', path: '/commitment' },
    { op: 'add', path: '/erased', value: true },
  ]);
  const entries = await Array.fromAsync(bench.stores.store.log({ workflow: wf }));
  expect(entries.map(({ entry }) => ('note' in entry ? entry.note : undefined))).toContain('erases the personal data');
  const { documents } = await bench.stores.store.find({ collection: 'workflows' });
  expect(documents).toMatchObject([{ ref: wf, data: { clientId: 'C-1', file: { name: 'note.txt' } } }]);
  expect(await bench.erase()).toEqual({ workflows: [{ id: 'WF-1', documents: 0, activities: 0, files: 0 }] });
});

test('the database is written anew later, where that is asked for', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(leavesPlanted);
  await bench.erase({ later: true });
  expect(await bench.read(ada)).toBeNull();
  expect(bench.bytes()).toContain('Planted');
  await bench.erase();
  expect(bench.bytes()).not.toContain('Planted');
});

test('where the database cannot be written anew, it says that all is deleted, and that its bytes are there', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(leavesPlanted);
  const scrub = () => Promise.reject(new Error('the disk is full'));
  await expect(bench.erase({}, { scrub })).rejects.toMatchObject({
    code: 'command.refused',
    message: expect.stringMatching(/^all of it is deleted, .*: the disk is full; erase again/),
  });
  expect(await bench.read(ada)).toBeNull();
  await bench.erase();
  expect(bench.bytes()).not.toContain('Planted');
});

test('a document that was erased and is there again, or was deleted without being erased, is found', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(leavesPlanted);
  bench.tamper(`INSERT INTO document (ref, collection, tenant, version, created_at, data)
    SELECT 'kept', collection, tenant, version, created_at, data FROM document WHERE ref = '${ada}'`);
  await bench.erase();
  bench.tamper(`UPDATE document SET ref = '${ada}' WHERE ref = 'kept'`);
  expect(bench.problems()).toEqual([`${ada}: its document was erased, and is there again`]);
});

test('nothing that runs later brings personal data back: it dies, and leaves nothing behind', async () => {
  await using bench = await PersonalBench.open();
  let file: FileRef | undefined;
  let runs = 0;
  await bench.handle(async (_event, step) => {
    file = await step.files.put('note.txt', 'Planted Text', { personal: true });
  });
  await bench.erase();
  const later: Handler<{ n: number }>[] = [
    async (_event, step) => (await step.document(people, 'bob')).create({ name: 'Planted Bob' }),
    async (_event, step) => void (await step.document(people, 'ada')).data,
    async (_event, step) => void (await step.files.put('again.txt', 'Planted Again', { personal: true })),
    async (_event, step) => void (await step.files.read(file!)),
    async (_event, step) => step.run('ask', 'Planted Question', async () => void runs++, { personal: true }),
  ];
  for (const handler of later) await bench.handle(handler);
  expect(await bench.died()).toEqual(later.map(() => 'personal.erased'));
  expect(runs).toBe(0);
  expect(bench.bytes()).not.toContain('Planted');
  // What is not personal goes on.
  await bench.handle(async (_event, step) => (await step.workflow(thing)).update({ n: 7 }));
  expect(await bench.read(wf)).toMatchObject({ n: 7 });
});

test.each<[string, Handler<{ n: number }>]>([
  ['a document', async (_event, step) => (await step.document(people, 'eve')).create({ name: 'Planted Eve' })],
  ['a file', async (_event, step) => void (await step.files.put('eve.txt', 'Planted Eve', { personal: true }))],
  [
    'a result',
    async (_event, step) => void (await step.run('ask', 'Planted Eve', async () => 'Planted Eve', { personal: true })),
  ],
])('%s that a step writes while its workflow is erased does not outlive it', async (_what, writes) => {
  await using bench = await PersonalBench.open();
  let erased = 0;
  await bench.handle(async (event, step) => {
    await step.document(people, 'ada');
    await writes(event, step);
    if (erased++ === 0) await bench.erase();
  });
  expect(await bench.died()).toEqual(['personal.erased']);
  await bench.stores.database.rewrite();
  expect(bench.bytes()).not.toContain('Planted');
  expect(bench.problems()).toEqual([]);
});

test('an erasure that breaks off anywhere is made good by the next', async () => {
  for (let survives = 0; ; survives++) {
    await using bench = await PersonalBench.open();
    await bench.handle(leavesPlanted);
    let calls = 0;
    const breaking = <T extends object>(of: T): T =>
      new Proxy(of, {
        get(target, name) {
          const value = target[name as keyof T];
          if (typeof value !== 'function') return value;
          return (...args: unknown[]) => {
            if (['commit', 'removeAll'].includes(String(name)) && calls++ === survives) throw new Error('killed');
            return value.apply(target, args);
          };
        },
      });
    const first = bench.erase({}, { store: breaking(bench.stores.store), blobs: breaking(bench.blobs) });
    const broke = await first.then(
      () => false,
      () => true,
    );
    await bench.erase();
    expect(bench.bytes()).not.toContain('Planted');
    expect(bench.problems()).toEqual([]);
    if (broke) continue;
    // The mark, the documents, the results, the files.
    expect(survives).toBe(4);
    return;
  }
});

test('a client with a workflow that is not over is left alone, unless it is forced', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(leavesPlanted);
  await bench.handle(async (_event, step) => (await step.workflow(thing)).update({ status: 'open' }));
  await expect(bench.erase()).rejects.toMatchObject({
    code: 'command.refused',
    message: expect.stringContaining('WF-1'),
  });
  expect(await bench.read(ada)).not.toBeNull();
  await bench.erase({ force: true });
  expect(await bench.read(ada)).toBeNull();
});

test('a client is found by what its workflows say, also after one went to another client', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(leavesPlanted);
  await bench.handle(async (_event, step) => (await step.workflow(thing)).update({ clientId: 'C/2 ü' }));
  await expect(bench.erase()).rejects.toMatchObject({ code: 'document.missing' });
  expect(await bench.erase({ client: 'C/2 ü' })).toMatchObject({ workflows: [{ id: 'WF-1', documents: 1 }] });
});

test('of clients of the same name in two tenants only the tenant’s own is erased, and the house must say whose', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(leavesPlanted);
  const theirs = async (handler: Handler<{ n: number }>) =>
    bench.handle(handler, bench.event('workflows/WF-2', 'acme'));
  await theirs(async (_event, step) => {
    (await step.workflow(thing)).create({ n: 0, clientId: 'C-1', status: 'closed' });
  });
  await theirs(leavesPlanted);
  const request = { client: 'C-1', force: true, later: false };
  await expect(bench.erasure().erase(request, { ...admin, tenant: '*' })).rejects.toMatchObject({
    code: 'command.refused',
    message: expect.stringContaining('acme, default'),
  });
  expect(await bench.erase()).toMatchObject({ workflows: [{ id: 'WF-1', documents: 1 }] });
  expect(await bench.read('workflows/WF-2/people/ada')).toMatchObject({ personal: { name: 'Planted Name' } });
  expect(readdirSync(join(bench.folder, 'WF-1'))).toEqual([]);
  expect(readdirSync(join(bench.folder, 'WF-2/personal'))).toHaveLength(4);
  await expect(bench.erase({ client: 'nobody' })).rejects.toMatchObject({ code: 'document.missing' });
});

test('a client with many workflows is erased a few at a time', async () => {
  await using bench = await PersonalBench.open();
  for (let n = 2; n <= 45; n++) {
    await bench.handle(
      async (_event, step) => {
        (await step.workflow(thing)).create({ n, clientId: 'C-1', status: 'closed' });
        (await step.document(people, 'ada')).create({ name: 'Planted Name' });
      },
      bench.event(`workflows/WF-${n}`),
    );
  }
  const seen: number[] = [];
  let documents = 0;
  for (let cursor: string | undefined; ; ) {
    const progress = await bench.erase({ cursor });
    seen.push(progress.workflows.length);
    documents += progress.workflows.reduce((sum, each) => sum + each.documents, 0);
    cursor = progress.cursor;
    if (cursor === undefined) break;
  }
  expect([seen, documents]).toEqual([[20, 20, 5], 44]);
  expect(bench.bytes()).not.toContain('Planted');
});

test('while the database is written anew writes wait, and all of them hold', async () => {
  await using bench = await PersonalBench.open();
  const rewritten = bench.stores.database.rewrite();
  await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      bench.handle(async (_event, step) => (await step.document(people, `p${n}`)).create({ name: 'Ada' })),
    ),
  );
  await rewritten;
  expect(await bench.died()).toEqual([]);
  const { documents } = await bench.stores.store.find({ collection: `${wf}/people` });
  expect(documents).toHaveLength(20);
  expect(bench.problems()).toEqual([]);
});
