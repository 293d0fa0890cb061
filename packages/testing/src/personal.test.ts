// How personal documents, files and results are kept: never in the log, and bound to it all the same.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { collection, type FileRef, type Handler } from '@dormouse/core';
import { expect, test } from 'vitest';
import { ada, PersonalBench, people, thing, wf } from './personal-bench.ts';

test('a personal document enters its chain as a commitment, a new one each time, that tells nothing of the value', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(async (_event, step) => {
    const person = await step.document(people, 'ada');
    expect(person.exists).toBe(false);
    person.create({ name: 'Planted Name' });
    expect(person.data).toEqual({ name: 'Planted Name' });
  });
  await bench.handle(async (_event, step) => {
    const person = await step.document(people, 'ada');
    expect(person.data).toEqual({ name: 'Planted Name' });
    person.update({ name: 'Planted Name' });
  });
  const changes = await bench.changes(ada);
  const commitment = { commitment: expect.stringMatching(/^[0-9a-f]{64}$/) };
  expect(changes).toEqual([
    [{ op: 'add', path: '', value: commitment }],
    [{ op: 'replace', path: '/commitment', value: commitment.commitment }],
  ]);
  const log = JSON.stringify(changes);
  expect(log.match(/[0-9a-f]{64}/g)![0]).not.toBe(log.match(/[0-9a-f]{64}/g)![1]);
  const text = JSON.stringify({ name: 'Planted Name' });
  expect(log).not.toContain(createHash('sha256').update(text).digest('hex'));
  expect(await bench.read(ada)).toEqual({
    personal: { name: 'Planted Name' },
    salt: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(bench.told).not.toContain('Planted');
  expect(bench.problems()).toEqual([]);
});

test.each([
  ['value', `UPDATE document SET data = json_set(data, '$.personal.name', 'Bob') WHERE ref = '${ada}'`],
  ['salt', `UPDATE document SET data = json_set(data, '$.salt', '${'0'.repeat(64)}') WHERE ref = '${ada}'`],
  ['form', `UPDATE document SET data = json_extract(data, '$.personal') WHERE ref = '${ada}'`],
])('a personal document with another %s is not the one that its chain commits to', async (_what, sql) => {
  await using bench = await PersonalBench.open();
  await bench.handle(async (_event, step) => (await step.document(people, 'ada')).create({ name: 'Ada', born: 1815 }));
  expect(bench.problems()).toEqual([]);
  bench.tamper(sql);
  expect(bench.problems()).toEqual([`${ada}: its document is not the one that the log commits to`]);
});

test('that the members of a personal document lie in another order is no change', async () => {
  await using bench = await PersonalBench.open();
  await bench.handle(async (_event, step) => (await step.document(people, 'ada')).create({ name: 'Ada', born: 1815 }));
  const { salt } = (await bench.read(ada))!;
  const turned = JSON.stringify({ salt, personal: { born: 1815, name: 'Ada' } });
  bench.tamper(`UPDATE document SET data = '${turned}' WHERE ref = '${ada}'`);
  expect(bench.problems()).toEqual([]);
});

test('a collection may become personal, and cease to be: its chains go on', async () => {
  await using bench = await PersonalBench.open();
  const plain = collection<{ name: string }>('people');
  for (const [index, kind] of [plain, people, plain, people].entries()) {
    await bench.handle(async (_event, step) => {
      const person = await step.document(kind, 'ada');
      if (person.exists) person.update({ name: `${person.data.name} ${index}` });
      else person.create({ name: 'Ada' });
    });
  }
  expect(await bench.read(ada)).toMatchObject({ personal: { name: 'Ada 1 2 3' } });
  expect(await bench.changes(ada)).toHaveLength(4);
  expect(bench.problems()).toEqual([]);
});

test('the reference of a personal file tells nothing of its content, and the same content twice has two', async () => {
  await using bench = await PersonalBench.open();
  const files: FileRef[] = [];
  await bench.handle(async (_event, step) => {
    for (let times = 0; times < 2; times++) {
      files.push(await step.files.put('note.txt', 'Planted Name', { personal: true }));
    }
    expect(await step.files.text(files[0]!)).toBe('Planted Name');
    (await step.workflow(thing)).update({ file: files[0]! });
  });
  const hash = createHash('sha256').update('Planted Name').digest('hex');
  const log = JSON.stringify(await bench.changes(wf));
  expect(log).toContain(files[0]!.key);
  expect(log).not.toContain(hash.slice(0, 20));
  expect(files[0]).toMatchObject({ key: expect.stringMatching(/^WF-1\/personal\/\w{16}\/note\.txt$/), personal: true });
  expect(files[1]!.key).not.toBe(files[0]!.key);
  expect(files[1]!.sha256).not.toBe(files[0]!.sha256);
  // A person can open it.
  expect(readFileSync(join(bench.folder, files[0]!.key), 'utf8')).toBe('Planted Name');
});

test.each(['content', 'salt'])('a personal file whose %s was changed is never handed to a handler', async (what) => {
  await using bench = await PersonalBench.open();
  let told: unknown;
  await bench.handle(async (_event, step) => {
    const file = await step.files.put('note.txt', 'Ada', { personal: true });
    const salt = readdirSync(join(bench.folder, 'WF-1/personal')).find((name) => name.endsWith('.salt'))!;
    const path = what === 'salt' ? join('WF-1/personal', salt) : file.key;
    writeFileSync(join(bench.folder, path), 'another');
    told = await step.files.text(file).catch(({ code }) => code);
  });
  expect(told).toBe('blob.damaged');
});

test('what is kept of a personal activity is with the workflow, and its input cannot be guessed from it', async () => {
  await using bench = await PersonalBench.open();
  const message = bench.event();
  let runs = 0;
  const handler =
    (email: string, fails: boolean): Handler<{ n: number }> =>
    async (_event, step) => {
      const greeted = await step.run('greet', { email }, async () => ({ greeted: email, runs: ++runs }), {
        personal: true,
      });
      expect(greeted).toEqual({ greeted: 'ada@planted.example', runs: 1 });
      if (fails) throw new Error('again');
    };
  await bench.handle(handler('ada@planted.example', true), message);
  const kept = await bench.stores.store.find({ collection: 'activities/WF-1/personal' });
  expect(kept.documents).toMatchObject([{ data: { name: 'greet', result: { greeted: 'ada@planted.example' } } }]);
  const hash = createHash('sha256')
    .update(JSON.stringify({ email: 'ada@planted.example' }))
    .digest('hex');
  expect(JSON.stringify(kept)).not.toContain(hash);
  const again = { ...message, attributes: { ...message.attributes, 'dormouse-attempt': '2' } };
  await bench.handle(handler('eve@planted.example', false), again);
  expect(await bench.died()).toEqual(['step.activity-input']);
  expect(runs).toBe(1);
  const log = JSON.stringify(await Array.fromAsync(bench.stores.store.log({ workflow: wf })));
  expect(log + bench.told).not.toContain('planted.example');
});
