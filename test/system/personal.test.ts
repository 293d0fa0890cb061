// Real: a system on which cases are opened, rejected, withdrawn and fail, all of them with a person's data that is nowhere else.
// Then everything that it keeps is looked through for it, and after erasing for its last byte.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { caseRequest, smallStatement } from './case-request.ts';
import { RunningSystem } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { until } from './until.ts';

const clientId = 'client-planted';
const planted = {
  name: 'Zephyrine Quillfeather',
  email: 'zephyrine.q@planted.example',
  phone: '+4915799988777',
  account: 'DE02700100800030876808',
  address: 'Quittengasse 77b, 80999 Plantheim',
  payment: 'paid-by-aunt-Quillberta',
  words: 'because Doctor Plantagruel said so',
};

let system: RunningSystem;
let bank: StatementServer;
const cases: Record<'closed' | 'rejected' | 'unread' | 'withdrawn' | 'unreachable' | 'failed', string> = {} as never;

function plantedRequest(changes: Record<string, unknown> = {}): Record<string, unknown> {
  const { name, email, phone } = planted;
  return caseRequest({
    clientId,
    client: { name, email, phone },
    documents: [{ kind: 'identity', name: planted.address }],
    statement: { inline: plantedStatement() },
    ...changes,
  });
}

function plantedStatement(changes: Record<string, unknown> = {}): Record<string, unknown> {
  const statement = smallStatement();
  const lines = (statement.lines as object[]).map((line) => ({ ...line, description: planted.address }));
  return { ...statement, accountId: planted.account, holder: planted.name, lines, ...changes };
}

async function fault(body: object): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const response = await system.fetch('/sandbox/faults', { method: 'PUT', headers, body: JSON.stringify(body) });
  expect(response.status).toBeLessThan(300);
}

beforeAll(async () => {
  [system, bank] = await Promise.all([RunningSystem.start({ args: ['--no-sample'] }), StatementServer.start()]);
  cases.closed = await system.open(plantedRequest());
  await system.reaches(cases.closed, 'closed');
  cases.rejected = await system.open(plantedRequest({ payment: { status: planted.payment } }));
  await system.reaches(cases.rejected, 'rejected');
  const unread = plantedStatement({ currency: planted.words, period: { from: planted.address, to: planted.name } });
  const url = bank.on(`/${planted.account}.json`, JSON.stringify(unread));
  cases.unread = await system.open(plantedRequest({ statement: { url } }));
  await system.reaches(cases.unread, 'rejected');
  const silent = { replies: { 'Corner Café': 'silent' } };
  cases.withdrawn = await system.open(plantedRequest({ sandbox: silent }));
  await system.reaches(cases.withdrawn, 'tracking');
  expect(await system.run(['cases', 'cancel', cases.withdrawn, planted.words])).toMatchObject({ code: 0 });
  await system.reaches(cases.withdrawn, 'cancelled');
  // Neither mail nor message is taken: the client cannot be told, and dead letters say so.
  await fault({ target: 'mail', mode: 'status', status: 550 });
  await fault({ target: 'sms', mode: 'status', status: 422 });
  cases.unreachable = await system.open(plantedRequest());
  await system.reaches(cases.unreachable, 'closed');
  // Nobody takes the letter: its case is escalated.
  await fault({ target: 'counterparties', mode: 'status', status: 400 });
  cases.failed = await system.open(plantedRequest());
  await system.reaches(cases.failed, 'escalated');
  await until('dead letters of each', async () => {
    const { deadLetters } = await system.get<{ deadLetters: { topic: string }[] }>('/api/dead-letters');
    const topics = new Set(deadLetters.map(({ topic }) => topic));
    return topics.has('notify.client') && topics.has('document.submit');
  });
});

afterAll(() => {
  system?.destroy();
  bank?.close();
});

/** How a value may show: as it is, in base64 wherever it begins, or as a hash that a guess could be tried on. */
function traces(value: string): string[] {
  const text = Buffer.from(value);
  const encoded = [0, 1, 2].map((offset) => {
    const base64 = Buffer.concat([Buffer.alloc(offset), text])
      .toString('base64')
      .replace(/=+$/, '');
    // The letters on either side depend on the neighbours.
    return base64.slice(offset === 0 ? 0 : 4, -1);
  });
  const hashes = [value, JSON.stringify(value)].map((each) => createHash('sha256').update(each).digest('hex'));
  return [value, ...encoded, ...hashes, ...hashes.map((hash) => hash.slice(0, 20))];
}

function found(text: string): string[] {
  return Object.entries(planted).flatMap(([what, value]) =>
    traces(value).some((each) => text.includes(each)) ? [what] : [],
  );
}

/** Every row of every table but what is personal, each as text. */
function* rows(database: DatabaseSync): Generator<string> {
  const tables = database
    .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
    .all();
  for (const { name } of tables) {
    for (const row of database.prepare(`SELECT * FROM "${name}"`).iterate()) {
      const ref = String(row.ref);
      const personal = /^(workflows\/[^/]+\/(contacts|grounds)|activities\/[^/]+\/personal)\//;
      if (name === 'document' && personal.test(ref)) continue;
      const texts = Object.values(row).map((value) =>
        value instanceof Uint8Array
          ? Buffer.from(value).toString('latin1') + Buffer.from(value).toString()
          : String(value),
      );
      yield `${name} ${texts.join(' | ')}`;
    }
  }
}

function* files(folder: string): Generator<[name: string, text: string]> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    yield [path.slice(system.data.length + 1), readFileSync(path).toString()];
  }
}

test('the search finds a planted value however it is written', () => {
  const { account, name } = planted;
  for (const text of [account, `x${account}`, `xy${account}`]) {
    expect(found(Buffer.from(`${text} and more`).toString('base64'))).toEqual(['account']);
  }
  expect(found(createHash('sha256').update(name).digest('hex').slice(0, 20))).toEqual(['name']);
});

test('personal data is nowhere but in personal documents, results and files: not in log, events, dead letters, hashes, names', () => {
  const database = new DatabaseSync(join(system.data, 'dormouse.db'), { readOnly: true });
  const leaks: string[] = [];
  let searched = 0;
  for (const row of rows(database)) {
    searched++;
    for (const what of found(row)) leaks.push(`${what} in ${row.slice(0, 300)}`);
  }
  const personal = database
    .prepare(`SELECT data FROM document WHERE ref LIKE 'workflows/%/%/%' OR ref LIKE 'activities/%/personal/%'`)
    .all();
  database.close();
  expect(leaks).toEqual([]);
  expect(searched).toBeGreaterThan(200);
  // It is there, so the search would have found it.
  const kept = found(JSON.stringify(personal));
  expect(kept).toEqual(expect.arrayContaining(['name', 'email', 'phone', 'address', 'payment', 'words']));
});

test('nor is it in the log of host and services, in names of files, or in a file that is not personal', () => {
  const leaks: string[] = [];
  const inFiles = new Set<string>();
  for (const [name, text] of files(system.data)) {
    for (const what of found(name)) leaks.push(`${what} in the name ${name}`);
    if (/^files\/[^/]+\/personal\//.test(name)) for (const what of found(text)) inFiles.add(what);
    // The sandbox plays mail servers and counterparties: they were told.
    else if (!/^(dormouse\.db|sandbox\.jsonl)/.test(name))
      for (const what of found(text)) leaks.push(`${what} in ${name}`);
  }
  expect(leaks).toEqual([]);
  expect([...inFiles]).toEqual(expect.arrayContaining(['name', 'account', 'address']));
  expect(found(system.program.stdout + system.program.stderr)).toEqual([]);
});

test('what operators and clients are shown of a case tells its personal data to who asks for it, and elsewhere not', async () => {
  for (const id of Object.values(cases)) {
    for (const path of ['', '/trace', '/events', '/documents/letters', '/files']) {
      const text = await (await system.fetch(`/api/workflows/${id}${path}`)).text();
      expect({ path, found: found(text) }).toEqual({ path, found: [] });
    }
  }
  expect(found(await (await system.fetch('/api/dead-letters')).text())).toEqual([]);
  const contacts = await system.get<{ documents: unknown[] }>(`/api/workflows/${cases.closed}/documents/contacts`);
  const { name, email, phone } = planted;
  expect(contacts.documents).toEqual([{ name, email, phone }]);
  const grounds = await system.get(`/api/workflows/${cases.withdrawn}/documents/grounds`);
  expect(grounds).toEqual({ documents: [{ outcome: 'cancelled', reasons: [planted.words] }] });
});

test('erase asks for a yes, refuses while a case is not over, and takes only an admin’s token', async () => {
  const erase = ['erase', '--client', clientId];
  expect(await system.run(erase)).toMatchObject({ code: 1, stderr: expect.stringContaining('--yes') });
  expect(await system.run(['erase', '--yes'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('--client ID'),
  });
  expect(await system.run([...erase, '--yes'])).toMatchObject({
    code: 1,
    stderr: `dormouse: 1 workflows of client "${clientId}" are not over (${cases.failed}); end them first, or force it: what in them still needs personal data then dies\n`,
  });
  const { stdout: token } = await system.run(['token', 'create', '--role', 'operator']);
  expect(await system.run([...erase, '--yes', '--token', token.trim()])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('needs the role admin'),
  });
  expect(await system.run(['erase', '--yes', '--client', 'nobody'])).toMatchObject({
    code: 1,
    stderr: 'dormouse: there is no workflow of a client "nobody"\n',
  });
  expect(await system.run(['cases', 'decide', cases.failed, '--close', 'nobody takes it'])).toMatchObject({ code: 0 });
  await system.reaches(cases.failed, 'closed');
});

test('what is erased is gone to the last byte of database and files; cases list, traces tell, the log holds, heads are kept', async () => {
  const heads = join(system.data, '..', `heads-${process.pid}.jsonl`);
  expect(await system.run(['heads', 'export', heads])).toMatchObject({ code: 0 });
  const bytes = () =>
    ['dormouse.db', 'dormouse.db-wal'].map((name) => readFileSync(join(system.data, name), 'latin1')).join();
  expect(found(bytes())).not.toEqual([]);
  const erased = await system.run(['erase', '--client', clientId, '--yes', '--json']);
  expect(erased.code).toBe(0);
  const { workflows, documents, activities, files: count } = JSON.parse(erased.stdout);
  expect(workflows.map(({ id }: { id: string }) => id).toSorted()).toEqual(Object.values(cases).toSorted());
  // A contact each, and why three are what they are.
  expect(documents).toBe(Object.values(cases).length + 3);
  expect(activities).toBeGreaterThan(3);
  expect(count).toBeGreaterThan(10);
  expect(found(bytes())).toEqual([]);
  for (const [name, text] of files(join(system.data, 'files')))
    expect({ name, found: found(text) }).toEqual({ name, found: [] });

  const { workflows: listed } = await system.get<{ workflows: { id: string; status: string }[] }>('/api/workflows');
  expect(listed).toHaveLength(Object.values(cases).length);
  const trace = await system.run(['trace', cases.closed]);
  expect(trace.stdout).toMatch(/Its personal data was erased at /);
  expect(trace.stdout).toContain('document.submit');
  expect(await system.get(`/api/workflows/${cases.closed}/documents/contacts`)).toEqual({ documents: [] });
  const statement = await system.fetch(`/api/workflows/${cases.closed}/files/statement.json`);
  expect(statement.status).toBe(410);
  expect(await statement.json()).toMatchObject({
    detail: `the personal data of workflow "${cases.closed}" was erased`,
  });
  expect(await system.run(['verify', '--against', heads])).toMatchObject({ code: 0 });
  expect(JSON.parse((await system.run(['doctor', '--json'])).stdout).findings).not.toContainEqual(
    expect.objectContaining({ state: 'fail' }),
  );
});

test('a dead letter that is redriven after the erasing dies again, and brings nothing back', async () => {
  await system.fetch('/sandbox/faults', { method: 'DELETE' });
  const { deadLetters } = await system.get<{ deadLetters: { id: string; topic: string; state: string }[] }>(
    '/api/dead-letters',
  );
  const letter = deadLetters.find(({ topic, state }) => topic === 'notify.client' && state === 'open')!;
  expect(await system.run(['dead-letters', 'redrive', letter.id])).toMatchObject({ code: 0 });
  await until('it died again', async () => {
    const { deadLetters } = await system.get<{ deadLetters: { id: string; code: string }[] }>('/api/dead-letters');
    return deadLetters.find(({ id }) => id === letter.id)?.code === 'personal.erased';
  });
  const again = await system.run(['erase', '--client', clientId, '--yes']);
  expect(again).toMatchObject({
    code: 0,
    stdout: `nothing personal was left in the 6 workflows of client ${clientId}\n`,
  });
  expect((await system.run(['verify'])).stdout).toMatch(/^holds/);
});
