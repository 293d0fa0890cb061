import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  type Actor,
  collection,
  createEndpoint,
  type EndpointPorts,
  Erasure,
  type ErasurePorts,
  type ErasureProgress,
  type ErasureRequest,
  encodeMessage,
  type FileRef,
  type Handler,
  type Message,
  on,
  service,
  systemClock,
  systemRandom,
  topic,
  workflow,
} from '@dormouse/core';
import { FileBlobStore, verifiedChains } from '@dormouse/local';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { LocalStores } from './local-stores.ts';

const asked = topic('thing.asked', { schema: z.object({ n: z.number() }) });
interface Thing {
  readonly n: number;
  readonly clientId?: string;
  readonly status?: string;
  readonly file?: FileRef;
}
const thing = workflow<Thing>({ idPrefix: 'WF', client: ({ clientId }) => clientId });
const people = collection<{ name: string; born?: number }>('people', { personal: true });
const wf = 'workflows/WF-1';
const ada = `${wf}/people/ada`;
const admin: Actor = { name: 'root', role: 'admin', tenant: 'default' };

/** One subscription's handler over a store and files on disk. */
class Bench implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'dormouse-personal-'));
  readonly stores = LocalStores.onDisk();
  readonly blobs = new FileBlobStore(this.folder);
  readonly #told: string[] = [];
  #messages = 0;

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stores[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true });
  }

  static async open(): Promise<Bench> {
    const bench = new Bench();
    for (const name of [asked.name, 'dead.letter']) {
      await bench.stores.broker.createTopic({ name: `projects/test/topics/${name}` });
    }
    await bench.handle(async (_event, step) => {
      (await step.workflow(thing)).create({ n: 0, clientId: 'C-1', status: 'closed' });
    });
    return bench;
  }

  /** Runs a handler for a new event. What went to the host's log is in `told`. */
  async handle(handler: Handler<{ n: number }>, message: Message = this.event()): Promise<void> {
    const record = (moment: string, facts?: object) => void this.#told.push(`${moment} ${JSON.stringify(facts)}`);
    const ports: EndpointPorts = {
      system: 'test',
      store: this.stores.store,
      blobs: this.blobs,
      clock: systemClock,
      random: systemRandom,
      log: { info: record, warn: record, error: record },
      authenticate: async () => {},
    };
    await createEndpoint(service('taker', [on(asked, handler)]), ports).deliver({
      subscription: 'taker.thing.asked',
      message,
      messageId: String(++this.#messages),
      publishTime: '2026-01-01T00:00:00Z',
    });
  }

  event(subject = wf, tenant = 'default'): Message {
    const id = `E${++this.#messages}`;
    const told = { id, type: asked.name, source: '//test', subject, time: 0, dataschema: 'thing.asked/1' };
    return encodeMessage({ ...told, tenant, causationId: undefined, traceparent: undefined, data: { n: 1 } });
  }

  erasure(changes: Partial<ErasurePorts> = {}): Erasure {
    return new Erasure({
      store: this.stores.store,
      blobs: this.blobs,
      clock: systemClock,
      random: systemRandom,
      closedStatuses: ['closed'],
      holdingFiles: (work) => work(),
      scrub: () => this.stores.database.rewrite(),
      ...changes,
    });
  }

  erase(request: Partial<ErasureRequest> = {}, changes: Partial<ErasurePorts> = {}): Promise<ErasureProgress> {
    return this.erasure(changes).erase({ client: 'C-1', force: false, later: false, ...request }, admin);
  }

  /** All that is on disk, as bytes: the database with its log, and the files. */
  bytes(): string {
    const { path } = this.stores.database;
    const files = readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((each) => each.isFile())
      .map((each) => join(each.parentPath, each.name));
    return [path, `${path}-wal`, ...files].map((file) => readFileSync(file, 'latin1')).join('\n');
  }

  get told(): string {
    return this.#told.join('\n');
  }

  /** Codes of the dead letters, in the order of their deaths. */
  async died(): Promise<unknown[]> {
    const { documents } = await this.stores.store.find({ collection: 'dead-letters' });
    return documents.map(({ data }) => data!.code).reverse();
  }

  async read(ref: string): Promise<Record<string, unknown> | null> {
    return (await this.stores.store.get([ref]))[0]!.data;
  }

  /** What the chain of a document says, entry by entry. */
  async changes(chain: string): Promise<unknown[]> {
    const entries = await Array.fromAsync(this.stores.store.log({ workflow: wf }));
    return entries.flatMap(({ kind, entry }) => (kind === 'log' && entry.chain === chain ? [entry.changes] : []));
  }

  problems(): (string | undefined)[] {
    const database = new DatabaseSync(this.stores.database.path, { readOnly: true });
    try {
      return [...verifiedChains(database)].flatMap(({ chain, problem }) => (problem ? [`${chain}: ${problem}`] : []));
    } finally {
      database.close();
    }
  }

  /** Changes the database behind everybody's back. */
  tamper(sql: string): void {
    const database = new DatabaseSync(this.stores.database.path);
    expect(Number(database.prepare(sql).run().changes)).toBe(1);
    database.close();
  }
}

test('a personal document enters its chain as a commitment, a new one each time, that tells nothing of the value', async () => {
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
  await bench.handle(async (_event, step) => (await step.document(people, 'ada')).create({ name: 'Ada', born: 1815 }));
  expect(bench.problems()).toEqual([]);
  bench.tamper(sql);
  expect(bench.problems()).toEqual([`${ada}: its document is not the one that the log commits to`]);
});

test('that the members of a personal document lie in another order is no change', async () => {
  await using bench = await Bench.open();
  await bench.handle(async (_event, step) => (await step.document(people, 'ada')).create({ name: 'Ada', born: 1815 }));
  const { salt } = (await bench.read(ada))!;
  const turned = JSON.stringify({ salt, personal: { born: 1815, name: 'Ada' } });
  bench.tamper(`UPDATE document SET data = '${turned}' WHERE ref = '${ada}'`);
  expect(bench.problems()).toEqual([]);
});

test('a collection may become personal, and cease to be: its chains go on', async () => {
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
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

/** A person, a file that the case names, one that nothing names, and the result of an activity: all of them personal. */
const leavesPlanted: Handler<{ n: number }> = async (_event, step) => {
  (await step.document(people, 'ada')).create({ name: 'Planted Name' });
  await step.files.put('lost.txt', 'Planted Loss', { personal: true });
  const file = await step.files.put('note.txt', 'Planted Text', { personal: true });
  await step.run('ask', 'Planted Question', async () => 'Planted Answer', { personal: true });
  (await step.workflow(thing)).update({ file });
};

test('what is erased is gone from database, log and files, to the last byte; the chains say so and hold', async () => {
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
  await bench.handle(leavesPlanted);
  await bench.erase({ later: true });
  expect(await bench.read(ada)).toBeNull();
  expect(bench.bytes()).toContain('Planted');
  await bench.erase();
  expect(bench.bytes()).not.toContain('Planted');
});

test('where the database cannot be written anew, it says that all is deleted, and that its bytes are there', async () => {
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
  await bench.handle(leavesPlanted);
  bench.tamper(`INSERT INTO document (ref, collection, tenant, version, created_at, data)
    SELECT 'kept', collection, tenant, version, created_at, data FROM document WHERE ref = '${ada}'`);
  await bench.erase();
  bench.tamper(`UPDATE document SET ref = '${ada}' WHERE ref = 'kept'`);
  expect(bench.problems()).toEqual([`${ada}: its document was erased, and is there again`]);
});

test('nothing that runs later brings personal data back: it dies, and leaves nothing behind', async () => {
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
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
    await using bench = await Bench.open();
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
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
  await bench.handle(leavesPlanted);
  await bench.handle(async (_event, step) => (await step.workflow(thing)).update({ clientId: 'C/2 ü' }));
  await expect(bench.erase()).rejects.toMatchObject({ code: 'document.missing' });
  expect(await bench.erase({ client: 'C/2 ü' })).toMatchObject({ workflows: [{ id: 'WF-1', documents: 1 }] });
});

test('of clients of the same name in two tenants only the tenant’s own is erased, and the house must say whose', async () => {
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
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
  await using bench = await Bench.open();
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
