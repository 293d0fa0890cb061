// Real: `dormouse doctor` and `dormouse reset`, on data directories that are sound and on ones that are not.
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeAll, expect, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { dormouse, type Finished } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
const oneLine = /^dormouse: [^\n]+\n$/;
/** A data directory with a closed case, whose host has ended. */
let ended: string;
let ofRunning: Finished;
let resetOfRunning: Finished;
beforeAll(async () => {
  const system = await RunningSystem.start({ args: ['--no-sample'] });
  try {
    await system.reaches(await system.open(caseRequest()), 'closed');
    ofRunning = await system.run(['doctor', '--json']);
    resetOfRunning = await system.run(['reset', '--yes']);
    await system.stop();
  } finally {
    system.destroy();
  }
  ended = system.data;
});

interface Finding {
  readonly check: string;
  readonly state: string;
  readonly detail: string;
  readonly remedy?: string;
}

test('a sound system is ok in every line, running or not, and doctor exits with 0', async () => {
  expect(ofRunning.code).toBe(0);
  const { healthy, findings } = JSON.parse(ofRunning.stdout) as { healthy: boolean; findings: Finding[] };
  expect(healthy).toBe(true);
  const checks = ['node', 'data directory', 'host', 'disk', 'database', 'schema', 'log', 'files', 'clock'];
  expect(findings.map(({ check }) => check)).toEqual([...checks, 'backlog', 'dead letters', 'services']);
  expect(findings.filter(({ check, state }) => state !== 'ok' && check !== 'disk')).toEqual([]);
  expect(findings.find(({ check }) => check === 'host')!.detail).toMatch(/runs, pid \d+/);

  const { code, stdout } = await dormouse(['doctor', '--data', ended]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ok +host +none runs$/m);
  expect(stdout).toMatch(/^ok +log +\d+ chains hold$/m);
});

test.each<[string, string, RegExp, RegExp, (data: string) => void]>([
  [
    'bytes of the database changed',
    'database',
    /damaged/,
    /restore/,
    (data) => overwrite(join(data, 'dormouse.db'), 4096 * 3),
  ],
  [
    'the database cut short',
    'database',
    /damaged/,
    /restore/,
    (data) => truncateSync(join(data, 'dormouse.db'), 20_000),
  ],
  [
    'no database at all',
    'database',
    /not a database/,
    /restore/,
    (data) => writeFileSync(join(data, 'dormouse.db'), 'x'.repeat(9000)),
  ],
  [
    'tables of a newer program',
    'schema',
    /version 99/,
    /newer program/,
    (data) => sql(data, 'UPDATE schema_version SET version = 99'),
  ],
  [
    'a rewritten log',
    'log',
    /entry 1 was changed/,
    /restore/,
    (data) => sql(data, `UPDATE entry SET body = replace(body, 'workflow.initiate', 'workflow.none') WHERE seq = 1`),
  ],
  ['a lost file', 'files', /is missing/, /tar xf/, (data) => rmSync(aLetter(data))],
  ['a changed file', 'files', /is changed/, /tar xf/, (data) => overwrite(aLetter(data), 10)],
])('%s is named by doctor with its remedy, and is exit 1', async (_title, check, detail, remedy, damage) => {
  const data = copy();
  damage(data);
  const { code, stdout } = await dormouse(['doctor', '--json', '--data', data]);
  expect(code).toBe(1);
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  expect(findings.filter(({ state }) => state === 'fail')).toEqual([
    { check, state: 'fail', detail: expect.stringMatching(detail), remedy: expect.stringMatching(remedy) },
  ]);
});

test.each<[string, string, RegExp, (data: string) => void]>([
  [
    'readable by others',
    'data directory',
    /webhook-secret/,
    (data) => {
      chmodSync(data, 0o755);
      chmodSync(join(data, 'webhook-secret'), 0o644);
    },
  ],
  [
    'with entries of tomorrow',
    'clock',
    /entries up to/,
    (data) => sql(data, `INSERT INTO entry (at, body) VALUES (${Date.now() + 86_400_000}, '{}')`),
  ],
  [
    'with an open dead letter',
    'dead letters',
    /1 open/,
    (data) =>
      sql(
        data,
        `INSERT INTO document (ref, collection, tenant, version, created_at, data) VALUES ('dead-letters/X', 'dead-letters', 'default', 1, 1, '{"state":"open"}')`,
      ),
  ],
  [
    'of an older program',
    'schema',
    /broker tables have version 1/,
    (data) => sql(data, `UPDATE schema_version SET version = 1 WHERE component = 'broker'`),
  ],
  [
    'with a message that waits for long',
    'backlog',
    /intake\.workflow\.initiate: \d+ wait/,
    (data) =>
      sql(
        data,
        `UPDATE subscription SET cursor = 0 WHERE name LIKE '%/intake.workflow.initiate'`,
        'UPDATE batch SET published_at = 1000',
      ),
  ],
])('a data directory %s is a warning, not a failure', async (_title, check, detail, change) => {
  const data = copy();
  change(data);
  const { stdout } = await dormouse(['doctor', '--json', '--data', data]);
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  expect(findings).toContainEqual({
    check,
    state: 'warn',
    detail: expect.stringMatching(detail),
    remedy: expect.any(String),
  });
});

test('a folder that is no data directory is a failure', async () => {
  const { code, stdout } = await dormouse(['doctor', '--data', folder]);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^fail +data directory .* has no dormouse\.db\n +→ name a data directory/m);
});

test('reset removes nothing without --yes, in a folder that is no data directory, or while a host runs', async () => {
  expect(resetOfRunning).toMatchObject({ code: 1, stdout: '' });
  expect(resetOfRunning.stderr).toMatch(/in use by another host \(pid \d+\)/);

  const data = copy();
  const other = join(folder, 'photos');
  mkdirSync(other);
  writeFileSync(join(other, 'files'), 'mine');
  for (const [args, message] of [
    [['reset', '--data', data], /--yes/],
    [['reset', '--yes', '--data', other], /no data directory/],
  ] as const) {
    const { code, stdout, stderr } = await dormouse([...args]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(oneLine);
    expect(stderr).toMatch(message);
  }
  expect(readdirSync(data)).toEqual(readdirSync(ended));
  expect(readdirSync(other)).toEqual(['files']);
});

test('reset empties a data directory, but for what is not its own', async () => {
  const data = copy();
  const { code, stdout } = await dormouse(['reset', '--yes', '--data', data]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${data} is empty\n` });
  expect(readdirSync(data)).toEqual([]);

  const shared = copy();
  writeFileSync(join(shared, 'note.txt'), 'mine');
  expect((await dormouse(['reset', '--yes', '--data', shared])).stdout).toContain('note.txt');
  expect(readdirSync(shared)).toEqual(['note.txt']);
});

function copy(): string {
  const data = join(folder, `data-${Math.random()}`);
  cpSync(ended, data, { recursive: true });
  chmodSync(data, statSync(ended).mode);
  expect(existsSync(join(data, 'dormouse.db'))).toBe(true);
  return data;
}

function sql(data: string, ...statements: readonly string[]): void {
  const database = new DatabaseSync(join(data, 'dormouse.db'));
  for (const statement of statements) database.exec(statement);
  database.close();
}

function aLetter(data: string): string {
  const names = readdirSync(join(data, 'files'), { recursive: true, encoding: 'utf8' });
  return join(data, 'files', names.find((name) => name.endsWith('.pdf'))!);
}

function overwrite(file: string, at: number): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, 'damaged '.repeat(64), at);
  closeSync(fd);
}
