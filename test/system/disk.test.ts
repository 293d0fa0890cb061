// Real: a host whose disk is full, whose database another program holds, whose files are damaged or gone.
import {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { caseRequest, smallStatement } from './case-request.ts';
import { dormouse, noDiskBecause } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
const oneLine = /^dormouse: [^\n]+\n$/;
const noDisk = noDiskBecause();
let bank: StatementServer;
beforeAll(async () => {
  bank = await StatementServer.start();
});
afterAll(() => bank.close());

test('a full disk: commands and publishes are answered 503, what runs waits without using up attempts, and all goes on when there is space', async (context) => {
  if (noDisk) return context.skip(noDisk);
  const small = join(folder, 'small-disk');
  mkdirSync(small);
  const system = await RunningSystem.ofThisTest({
    args: ['--no-sample'],
    data: join(small, 'data'),
    disk: { folder: small, size: '96m' },
  });
  const statement = JSON.stringify(smallStatement());
  const held = await system.open(caseRequest({ statement: { url: bank.on('/full.json', 'hold', statement) } }));
  await until('the bank is asked', () => bank.asked('/full.json') === 1);

  const filler = join(system.data, '..', 'filler');
  fill(filler);
  const refused = await until('a command is refused', async () => {
    const answer = await system.fetch('/api/workflows/create', { method: 'POST', body: JSON.stringify(caseRequest()) });
    return answer.status === 201 ? undefined : answer;
  });
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ status: 503, code: 'store.unavailable' });
  const known = (await system.get<{ workflows: unknown[] }>('/api/workflows')).workflows.length;

  const publish = await until('a publish is refused', async () => {
    const answer = await fetch(`${system.brokerUrl}/v1/projects/dormouse/topics/notify.admin:publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ data: Buffer.alloc(200_000).toString('base64') }] }),
    });
    return answer.ok ? undefined : answer;
  });
  expect(publish.status).toBe(503);
  expect(await publish.json()).toMatchObject({
    error: { status: 'UNAVAILABLE', message: expect.stringMatching(/disk is full/) },
  });

  // The statement comes, and there is no room for it.
  bank.release('/full.json', statement);
  // The log has no room either, once its last block is full.
  await until('the step could not be committed', () =>
    /store\.unavailable|ENOSPC/.test(readFileSync(join(system.data, 'host.log'), 'utf8') + system.program.stderr),
  );
  expect(await system.statusOf(held)).toBe('fetching');
  expect((await system.get<{ workflows: unknown[] }>('/api/workflows')).workflows).toHaveLength(known);

  rmSync(filler);
  await system.reaches(held, 'closed');
  const fetched = (await system.trace(held)).find(({ topic }) => topic === 'data.fetch')!;
  expect(fetched).toMatchObject({ status: 'done', attempts: 1, errors: [] });
  const after = await system.open(caseRequest());
  await system.reaches(after, 'closed');
  // SQLite cannot open what only `/proc` reaches. All is quiet, so the files are whole.
  const copy = join(folder, 'copy-of-small-disk');
  cpSync(system.data, copy, { recursive: true });
  expect((await dormouse(['doctor', '--data', copy])).stdout).not.toMatch(/^fail/m);
});

test('a database that another program holds: writers wait without stalling the host, are refused after 5 s, and go on when it is free', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const other = new DatabaseSync(join(system.data, 'dormouse.db'), { timeout: 5_000 });
  onTestFinished(() => {
    if (other.isOpen) other.close();
  });
  other.exec('BEGIN IMMEDIATE');
  const waiting = system.open(caseRequest());
  // A host that stalls with its writer does so for the 5 s, and then refuses it.
  for (let looks = 0; looks < 5; looks++) expect((await system.fetch('/api/workflows')).status).toBe(200);
  other.exec('COMMIT');
  await system.reaches(await waiting, 'closed');

  other.exec('BEGIN IMMEDIATE');
  const refused = await system.fetch('/api/workflows/create', { method: 'POST', body: JSON.stringify(caseRequest()) });
  expect(refused.status).toBe(503);
  expect(readFileSync(join(system.data, 'host.log'), 'utf8')).toMatch(/dormouse\.db is locked by another program/);
  other.exec('ROLLBACK');
  await system.reaches(await system.open(caseRequest()), 'closed');
});

test('start refuses a database that is held, damaged, cut short or none, names it and what to do', async () => {
  const first = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  await first.reaches(await first.open(caseRequest()), 'closed');
  await first.stop();
  const damages: [RegExp, (database: string) => void][] = [
    [/is damaged.*dormouse restore FILE --data NEW/, (database) => overwrite(database, 4096 * 5)],
    [/is damaged.*dormouse restore FILE --data NEW/, (database) => truncateSync(database, 30_000)],
    [
      /is damaged.*dormouse restore FILE --data NEW/,
      (database) => writeFileSync(database, 'no database '.repeat(1000)),
    ],
    [
      /is locked by another program; end it/,
      (database) => {
        const other = new DatabaseSync(database);
        other.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
        onTestFinished(() => other.close());
      },
    ],
    [
      /version 99.*use a newer program/,
      (database) => {
        const other = new DatabaseSync(database);
        other.exec('UPDATE schema_version SET version = 99');
        other.close();
      },
    ],
  ];
  await Promise.all(
    damages.map(async ([message, damage], index) => {
      const data = join(folder, `damaged-${index}`);
      cpSync(first.data, data, { recursive: true });
      damage(join(data, 'dormouse.db'));
      const { code, stdout, stderr } = await dormouse(['start', '--no-sample', '--data', data]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(oneLine);
      expect(stderr).toContain(join(data, 'dormouse.db'));
      expect(stderr).toMatch(message);
    }),
  );
});

test.each<[string, string, (file: string) => void]>([
  ['gone', 'blob.missing', (file) => rmSync(file)],
  ['damaged', 'blob.damaged', (file) => overwrite(file, 5)],
])(
  'a file that is %s fails the step that needs it by name, and the case goes on when it is back',
  async (_title, code, damage) => {
    const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
    expect((await system.run(['subscriptions', 'pause', 'processing.data.analyze'])).code).toBe(0);
    const id = await system.open(caseRequest());
    await until('the statement is there', async () =>
      (await system.trace(id)).some(({ topic }) => topic === 'data.analyze'),
    );
    const files = join(system.data, 'files', id);
    const statement = readdirSync(files, { recursive: true, encoding: 'utf8' }).find((name) =>
      name.endsWith('statement.json'),
    )!;
    const kept = join(folder, `kept-${code}`);
    cpSync(join(files, statement), kept);
    damage(join(files, statement));
    expect((await system.run(['subscriptions', 'resume', 'processing.data.analyze'])).code).toBe(0);

    const failed = await until('the step fails', async () =>
      (await system.trace(id)).find(({ topic, status }) => topic === 'data.analyze' && status === 'retrying'),
    );
    expect(failed.errors[0]).toMatch(new RegExp(`^${code}: .*${id}/`));
    renameSync(kept, join(files, statement));
    await system.reaches(id, 'closed');
  },
);

/** Until nothing more fits. */
function fill(path: string): void {
  const fd = openSync(path, 'w');
  for (let size = 1 << 20; size > 0; ) {
    try {
      writeSync(fd, Buffer.alloc(size));
    } catch {
      size >>= 1;
    }
  }
  closeSync(fd);
}

function overwrite(file: string, at: number): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, 'damaged '.repeat(16), at);
  closeSync(fd);
}
