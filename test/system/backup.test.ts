// Real: `dormouse backup` beside a running host, `dormouse restore`, and a host on what came of it.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { caseRequest, smallStatement } from './case-request.ts';
import { dormouse } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
const oneLine = /^dormouse: [^\n]+\n$/;
let bank: StatementServer;
/** A backup of one closed case. */
let sound: string;
let closedId: string;
/** The key of a file of that case that a document names: beside it may lie what an attempt wrote whose commit failed. */
let letter: string;
beforeAll(async () => {
  bank = await StatementServer.start();
  const system = await RunningSystem.start({ args: ['--no-sample'] });
  try {
    closedId = await system.open(caseRequest());
    await system.reaches(closedId, 'closed');
    const letters = await system.get<{ documents: { file: { key: string } }[] }>(
      `/api/workflows/${closedId}/documents/letters`,
    );
    letter = letters.documents[0]!.file.key;
    sound = join(folder, 'sound.tar');
    expect(await system.run(['backup', sound])).toMatchObject({ code: 0, stderr: '' });
  } finally {
    system.destroy();
  }
});
afterAll(() => bank.close());

test('a backup made while cases are in flight becomes a system in which they go on to their ends, files and all', async () => {
  const first = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const url = bank.on('/backed-up.json', 'hold', JSON.stringify(smallStatement()));
  const waiting = await first.open(caseRequest({ statement: { url } }));
  await until('the bank is asked', () => bank.asked('/backed-up.json') === 1);
  const done = await first.open(caseRequest());
  await first.reaches(done, 'closed');

  // Cases come in and are worked on all the while.
  let opening = true;
  const opened = (async () => {
    for (let count = 0; opening && count < 20; count++)
      await first.open(caseRequest({ statement: { inline: smallStatement(`Shop ${count}`) } }));
  })();
  const backups = ['one.tar', 'two.tar'].map((name) => join(folder, name));
  for (const file of backups) {
    const { code, stdout, stderr } = await first.run(['backup', file, '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ file, missing: [], secrets: ['webhook-secret'] });
    expect(statSync(file).mode & 0o777).toBe(0o600);
  }
  opening = false;
  await opened;
  first.destroy();
  expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);

  for (const [index, file] of backups.entries()) {
    const data = join(folder, `restored-${index}`);
    const { code, stdout, stderr } = await dormouse(['restore', file, '--data', data]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^\S+restored-\d: \d+ workflows and \d+ files as they were at \S+, verified\n$/);
  }
  const data = join(folder, 'restored-1');
  for (const name of ['dormouse.db', 'webhook-secret']) expect(statSync(join(data, name)).mode & 0o777).toBe(0o600);
  expect(statSync(data).mode & 0o077).toBe(0);
  expect(readFileSync(join(data, 'webhook-secret'))).toEqual(readFileSync(join(first.data, 'webhook-secret')));

  const second = await RunningSystem.ofThisTest({ data });
  await second.reaches(waiting, 'closed');
  expect(await second.statusOf(done)).toBe('closed');
  const { documents } = await second.get<{ documents: { file: { name: string; bytes: number } }[] }>(
    `/api/workflows/${done}/documents/letters`,
  );
  for (const { file } of documents) {
    const letter = await (await second.fetch(`/api/workflows/${done}/files/${encodeURIComponent(file.name)}`)).bytes();
    expect(letter.length).toBe(file.bytes);
  }
  // The admin's token stays where it was made.
  expect(second.host.token).not.toBe(first.host.token);
});

test('a backup overwrites nothing, and needs a data directory and a folder to write to', async () => {
  const file = join(folder, 'there-already');
  writeFileSync(file, 'mine');
  for (const [args, message] of [
    [['backup', file, '--data', folder], /no data directory/],
    [['backup', join(folder, 'none', 'b.tar'), '--data', await restored()], /make its folder/],
    [['backup', file, '--data', await restored()], /exists already/],
    [['backup'], /FILE/],
  ] as const) {
    const { code, stdout, stderr } = await dormouse([...args]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(oneLine);
    expect(stderr).toMatch(message);
  }
  expect(readFileSync(file, 'utf8')).toBe('mine');
});

test('restore refuses a folder that holds anything, and leaves it as it was', async () => {
  const data = join(folder, 'mine');
  mkdirSync(data);
  writeFileSync(join(data, 'note'), 'keep');
  await refused(sound, data, /is not empty/);
  expect(readdirSync(data)).toEqual(['note']);
});

test.each([
  [
    'that is cut short',
    (file: string) => truncateSync(file, Math.floor(statSync(file).size / 2)),
    /not a whole one|not the one/,
  ],
  ['that is empty', (file: string) => truncateSync(file, 0), /no backup of Dormouse/],
  ['that is no tar at all', (file: string) => writeFileSync(file, 'hello'.repeat(1000)), /no backup of Dormouse/],
  [
    'with one byte of its database changed',
    (file: string) => flip(file, 'dormouse.db', 5000),
    /not the one that was backed up/,
  ],
  ['with one byte of a letter changed', (file: string) => flip(file, letter, 100), /\.pdf is changed/],
])('a backup %s is refused, and leaves nothing behind', async (_title, damage, message) => {
  const file = join(folder, `damaged-${Math.random()}.tar`);
  copyFileSync(sound, file);
  damage(file);
  const data = join(folder, `never-${Math.random()}`);
  await refused(file, data, message);
  expect(existsSync(data)).toBe(false);
});

test('a backup of a newer program, a lost file and a changed log are refused by name', async () => {
  const changed = async (change: (data: string, database: DatabaseSync) => void): Promise<string> => {
    const data = await restored();
    const database = new DatabaseSync(join(data, 'dormouse.db'));
    change(data, database);
    database.close();
    const file = join(folder, `changed-${Math.random()}.tar`);
    expect((await dormouse(['backup', file, '--data', data])).code).toBe(0);
    return file;
  };
  const newer = await changed((_data, database) => void database.exec('UPDATE schema_version SET version = 99'));
  await refused(newer, join(folder, 'newer'), /version 99.*use a newer program/);

  const rewritten = await changed((_data, database) => {
    database.exec(
      `UPDATE entry SET body = replace(body, '"note":"', '"note":"not ') WHERE chain = 'workflows/${closedId}'`,
    );
  });
  await refused(
    rewritten,
    join(folder, 'rewritten'),
    new RegExp(`the log of workflows/${closedId} does not hold: entry \\d+ was changed`),
  );

  const cut = await changed((_data, database) => {
    database.exec(
      `DELETE FROM entry WHERE chain = 'workflows/${closedId}' AND seq = (SELECT seq FROM head WHERE chain = 'workflows/${closedId}')`,
    );
  });
  await refused(cut, join(folder, 'cut'), /its head is entry/);
});

test('a file that was lost before the backup is named, and the rest is restored', async () => {
  const data = await restored();
  rmSync(join(data, 'files', letter));
  const file = join(folder, 'lossy.tar');
  const made = await dormouse(['backup', file, '--data', data]);
  expect(made.code).toBe(0);
  expect(made.stderr).toBe(`dormouse: files/${letter} was gone before the backup\n`);
  const again = await dormouse(['restore', file, '--data', join(folder, 'lossy')]);
  expect(again).toMatchObject({ code: 0, stderr: made.stderr });
});

/** A new data directory with the closed case. */
async function restored(): Promise<string> {
  const data = join(folder, `data-${Math.random()}`);
  expect(await dormouse(['restore', sound, '--data', data])).toMatchObject({ code: 0, stderr: '' });
  return data;
}

async function refused(file: string, data: string, message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await dormouse(['restore', file, '--data', data]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(oneLine);
  expect(stderr).toMatch(message);
}

/** Changes one byte of the content of a file in a tar, found by the end of its name. */
function flip(tar: string, name: string, offset: number): void {
  const bytes = readFileSync(tar);
  const content = bytes.indexOf(`${name}\0`) - (bytes.indexOf(`${name}\0`) % 512) + 512;
  bytes[content + offset]! ^= 1;
  writeFileSync(tar, bytes);
}
