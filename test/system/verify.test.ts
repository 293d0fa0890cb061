// Real: `dormouse verify` on the data directory of a closed case, as it is and after somebody has been at its database.
import { cpSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { chainHash, firstHash } from '@dormouse/core';
import { beforeAll, expect, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { dormouse } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
let data: string;
let workflowId: string;
/** The case and a letter as they were at each entry, from the running host. */
const was: Record<'case' | 'letter', { seq: number; hash: string; document: Record<string, unknown> }[]> = {
  case: [],
  letter: [],
};
/** Exported beside the running host, before the case was closed. */
const early = join(folder, 'early.jsonl');
/** Exported when all was over. */
const late = join(folder, 'late.jsonl');

beforeAll(async () => {
  const system = await RunningSystem.start({ args: ['--no-sample'] });
  try {
    await dormouse(['subscriptions', 'pause', 'admin.workflow.complete', '--data', system.data]);
    workflowId = await system.open(caseRequest());
    await system.reaches(workflowId, 'reviewing');
    await dormouse(['heads', 'export', early, '--data', system.data]);
    await dormouse(['subscriptions', 'resume', 'admin.workflow.complete', '--data', system.data]);
    await system.reaches(workflowId, 'closed');
    for (const [of, args] of [
      ['case', []],
      ['letter', ['--document', 'letters/L01']],
    ] as const) {
      for (let at = 1; ; at++) {
        const { code, stdout, stderr } = await system.run(['trace', workflowId, '--at', String(at), ...args, '--json']);
        if (code !== 0) {
          expect(stderr).toBe(
            `dormouse: the log of "${of === 'case' ? workflowId : 'letters/L01'}" has no entry ${at}\n`,
          );
          break;
        }
        was[of].push(JSON.parse(stdout));
      }
    }
    await system.stop();
  } finally {
    system.destroy();
  }
  data = system.data;
  await dormouse(['heads', 'export', late, '--data', data]);
});

interface Verified {
  readonly holds: boolean;
  readonly chains: number;
  readonly entries: number;
  readonly broken: readonly { readonly chain: string; readonly problem: string }[];
}

async function verify(of: string, ...args: string[]): Promise<Verified & { readonly code: number | null }> {
  const { code, stdout } = await dormouse(['verify', ...args, '--json', '--data', of]);
  return { code, ...(JSON.parse(stdout) as Verified) };
}

test('a log that nobody touched holds, and gives every document as it is; one case or all', async () => {
  const all = await verify(data);
  expect(all).toMatchObject({ code: 0, holds: true, broken: [] });
  expect(all.chains).toBeGreaterThan(1);
  expect(all.entries).toBeGreaterThan(all.chains);
  expect(await verify(data, workflowId)).toEqual(all);
  const { stdout } = await dormouse(['verify', '--data', data]);
  expect(stdout).toMatch(/^holds {2}\d+ entries in \d+ chains/);
});

const theCase = "chain = (SELECT min(chain) FROM head WHERE chain LIKE 'workflows/WF-%')";
const theLetter = "(SELECT min(ref) FROM document WHERE ref LIKE 'workflows/%/letters/%')";

test.each<[string, RegExp, RegExp, string]>([
  [
    'an entry that was changed',
    /^workflows\/WF-[^/]+$/,
    /^entry 2 was changed$/,
    `UPDATE entry SET body = replace(body, 'startedAt', 'startedat') WHERE seq = 2 AND ${theCase}`,
  ],
  [
    'the time of an entry that was changed',
    /^workflows\/WF-[^/]+$/,
    /^entry 1 was changed$/,
    `UPDATE entry SET at = at - 1 WHERE seq = 1 AND ${theCase}`,
  ],
  [
    'an entry that was taken out',
    /^workflows\/WF-[^/]+$/,
    /^entry 3 is missing$/,
    `DELETE FROM entry WHERE seq = 3 AND ${theCase}`,
  ],
  [
    'a log that was cut short',
    /^workflows\/WF-[^/]+$/,
    /^its head is entry \d+, its last entry 4$/,
    `DELETE FROM entry WHERE seq > 4 AND ${theCase}`,
  ],
  [
    'a log that was taken away',
    /^workflows\/WF-[^/]+$/,
    /^its head is entry \d+, its last entry is missing$/,
    `DELETE FROM entry WHERE ${theCase}`,
  ],
  [
    'a head that was changed',
    /^workflows\/WF-[^/]+$/,
    /^its head is entry \d+, its last entry \d+$/,
    `UPDATE head SET hash = '${'0'.repeat(64)}' WHERE ${theCase}`,
  ],
  ['a head that was taken away', /^workflows\/WF-[^/]+$/, /^it has no head$/, `DELETE FROM head WHERE ${theCase}`],
  [
    'a case that was changed',
    /^workflows\/WF-[^/]+$/,
    /differs at \/status$/,
    `UPDATE document SET data = json_set(data, '$.status', 'open') WHERE collection = 'workflows'`,
  ],
  [
    'a letter that was changed',
    /\/letters\//,
    /differs at \/status$/,
    `UPDATE document SET data = json_set(data, '$.status', 'lost') WHERE ref = ${theLetter}`,
  ],
  [
    'a case that was taken away',
    /^workflows\/WF-[^/]+$/,
    /^its document is missing$/,
    `DELETE FROM document WHERE collection = 'workflows'`,
  ],
  [
    'a case that was slipped in',
    /^workflows\/WF-forged$/,
    /by the log it is not$/,
    `INSERT INTO document SELECT 'workflows/WF-forged', collection, tenant, version, created_at, due_at, data, settled_at, listed_in FROM document WHERE collection = 'workflows'`,
  ],
  [
    'a contact that was changed',
    /\/contacts\/client$/,
    /^its document is not the one that the log commits to$/,
    `UPDATE document SET data = json_set(data, '$.personal.name', 'Somebody Else') WHERE ref LIKE '%/contacts/client'`,
  ],
  [
    'a contact that was deleted without being erased',
    /\/contacts\/client$/,
    /^its document is missing$/,
    `DELETE FROM document WHERE ref LIKE '%/contacts/client'`,
  ],
  [
    'a contact that was slipped in',
    /\/contacts\/other$/,
    /by the log it is not$/,
    `INSERT INTO document SELECT replace(ref, '/client', '/other'), collection, tenant, version, created_at, due_at, data, settled_at, listed_in FROM document WHERE ref LIKE '%/contacts/client'`,
  ],
])('%s is found and named', async (title, chain, problem, sql) => {
  const copy = join(folder, title.replaceAll(' ', '-'));
  cpSync(data, copy, { recursive: true });
  const database = new DatabaseSync(join(copy, 'dormouse.db'));
  expect(Number(database.prepare(sql).run().changes)).toBeGreaterThan(0);
  database.close();
  for (const args of title === 'a case that was slipped in' ? [[], ['WF-forged']] : [[], [workflowId]]) {
    const { code, holds, broken } = await verify(copy, ...args);
    expect({ code, holds }).toEqual({ code: 1, holds: false });
    expect(broken).toEqual([
      { chain: expect.stringMatching(chain), entries: expect.any(Number), problem: expect.stringMatching(problem) },
    ]);
  }
  const { stdout } = await dormouse(['verify', '--data', copy]);
  expect(stdout).toMatch(/^broken {2}workflows\/WF-/);
  expect(stdout).toContain('1 of ');
});

test('a case that is not there, or no data directory, is a word on one line', async () => {
  for (const args of [
    ['verify', 'WF-none', '--data', data],
    ['verify', '--data', folder],
  ]) {
    const { code, stdout, stderr } = await dormouse(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^dormouse: (there is no workflow "WF-none"|.* is not there)[^\n]*\n$/);
  }
});

function copyOf(title: string, change: (database: DatabaseSync) => void): string {
  const copy = join(folder, title.replaceAll(' ', '-'));
  cpSync(data, copy, { recursive: true });
  const database = new DatabaseSync(join(copy, 'dormouse.db'));
  change(database);
  database.close();
  return copy;
}

/** As one would who means to be believed: all hashes from there on anew, the head as well. */
function rechain(database: DatabaseSync, chain: string): void {
  let [seq, hash] = [0, firstHash];
  for (const row of database.prepare('SELECT * FROM entry WHERE chain = ? ORDER BY position').all(chain)) {
    hash = chainHash(hash, ++seq, row.at as number, row.body as string);
    database.prepare('UPDATE entry SET seq = ?, hash = ? WHERE position = ?').run(seq, hash, row.position!);
  }
  database.prepare('UPDATE head SET seq = ?, hash = ? WHERE chain = ?').run(seq, hash, chain);
}

test('heads that were exported, also beside a running host, are found again in the log that grew since', async () => {
  for (const file of [early, late]) {
    expect(await verify(data, '--against', file)).toMatchObject({ code: 0, holds: true, broken: [] });
    expect(await verify(data, workflowId, '--against', file)).toMatchObject({ code: 0, holds: true });
  }
  const { stdout } = await dormouse(['verify', '--against', early, '--data', data]);
  expect(stdout).toMatch(/^holds {2}.*; all of \d{4}-.*Z is still there\n$/);
  const theCase = new RegExp(`^\\["workflows/${workflowId}",.*$`, 'm');
  const [before, after] = [early, late].map((file) => theCase.exec(readFileSync(file, 'utf8'))?.[0]);
  expect(before).toBeDefined();
  expect(after).not.toBe(before);
  expect(statSync(join(data, 'heads-key.pem')).mode & 0o777).toBe(0o600);
});

test.each<[string, RegExp, (database: DatabaseSync, chain: string) => void]>([
  [
    'a history rewritten with all its hashes',
    /^it was rewritten: entry \d+ is not the one that was exported at \d{4}-.*Z$/,
    (database, chain) => {
      database
        .prepare(`UPDATE entry SET body = json_set(body, '$.note', 'as if') WHERE seq = 2 AND chain = ?`)
        .run(chain);
      rechain(database, chain);
    },
  ],
  [
    'a history shortened with its head and its document',
    /^it was cut short: it ends at entry 1, and had \d+ at \d{4}-.*Z$/,
    (database, chain) => {
      const first = database.prepare('SELECT body FROM entry WHERE seq = 1 AND chain = ?').get(chain)!;
      const document = JSON.stringify(JSON.parse(first.body as string).changes[0].value);
      database.prepare('DELETE FROM entry WHERE seq > 1 AND chain = ?').run(chain);
      database.prepare('UPDATE document SET data = ? WHERE ref = ?').run(document, chain);
      rechain(database, chain);
    },
  ],
  [
    'a case deleted with all that tells of it',
    /^it is gone, and had \d+ entries at \d{4}-.*Z$/,
    (database, chain) => {
      database.prepare('DELETE FROM entry WHERE chain = ?').run(chain);
      database.prepare('DELETE FROM head WHERE chain = ?').run(chain);
      database.prepare('DELETE FROM document WHERE ref = ?').run(chain);
    },
  ],
])('%s holds by itself, and is found and named against exported heads', async (title, problem, change) => {
  const chain = `workflows/${workflowId}`;
  const copy = copyOf(title, (database) => change(database, chain));
  expect(await verify(copy)).toMatchObject({ code: 0, holds: true });
  for (const args of [[], [workflowId]]) {
    expect(await verify(copy, ...args, '--against', late)).toMatchObject({
      code: 1,
      broken: [{ chain, problem: expect.stringMatching(problem) }],
    });
  }
});

test('heads are checked with the public key alone, where there is no other', async () => {
  const { stdout } = await dormouse(['heads', 'key', '--data', data]);
  const key = stdout.trim();
  const elsewhere = copyOf('elsewhere', () => {});
  rmSync(join(elsewhere, 'heads-key.pem'));
  const args = ['verify', '--against', late, '--data', elsewhere];
  expect(await dormouse(args)).toMatchObject({ code: 1, stderr: expect.stringContaining('--key PUBKEY') });
  expect(await dormouse([...args, '--key', key])).toMatchObject({ code: 0 });
  expect(existsSync(join(elsewhere, 'heads-key.pem'))).toBe(false);
  // Its own key is another.
  await dormouse(['heads', 'key', '--data', elsewhere]);
  expect(await dormouse(args)).toMatchObject({ code: 1, stderr: expect.stringContaining(`signed by the key ${key}`) });
  expect(await dormouse([...args, '--key', 'none'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('"none" is no public key'),
  });
});

test('an export that was changed in any line, or is not whole, is refused with a word on one line', async () => {
  const lines = readFileSync(late, 'utf8').split(/(?<=\n)/);
  const told = async (name: string, text: string) => {
    const file = join(folder, name);
    writeFileSync(file, text);
    const { code, stdout, stderr } = await dormouse(['verify', '--against', file, '--data', data]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    return stderr;
  };
  const changed = /^dormouse: .* was changed after it was signed; [^\n]*\n$/;
  expect(await told('hash.jsonl', lines.join('').replace(/[0-9a-f]{8}"\]/, '00000000"]'))).toMatch(changed);
  expect(await told('line.jsonl', lines.toSpliced(1, 1).join(''))).toMatch(changed);
  expect(await told('time.jsonl', lines.join('').replace(/"at":"20/, '"at":"19'))).toMatch(changed);
  expect(await told('short.jsonl', lines.slice(0, -1).join(''))).toMatch(/is cut short: its signature is missing/);
  expect(await told('other.jsonl', '{"some":"file"}\n')).toMatch(/is no export of heads/);
  expect(await told('empty.jsonl', '')).toMatch(/is cut short/);
  const again = await dormouse(['heads', 'export', late, '--data', data]);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('exists already') });
  expect(readFileSync(late, 'utf8')).toBe(lines.join(''));
});

test('trace --at N tells a case, or a document below it, as it was after each entry of its log', () => {
  const database = new DatabaseSync(join(data, 'dormouse.db'), { readOnly: true });
  const read = (ref: string) => ({
    hashes: database
      .prepare('SELECT hash FROM entry WHERE chain = ? ORDER BY seq')
      .all(ref)
      .map(({ hash }) => hash),
    data: JSON.parse(String(database.prepare('SELECT data FROM document WHERE ref = ?').get(ref)!.data)),
  });
  for (const [of, ref] of [
    ['case', `workflows/${workflowId}`],
    ['letter', `workflows/${workflowId}/letters/L01`],
  ] as const) {
    const { hashes, data } = read(ref);
    expect(was[of].map(({ seq, hash }) => [seq, hash])).toEqual(hashes.map((hash, index) => [index + 1, hash]));
    expect(was[of].at(-1)!.document).toEqual(data);
  }
  database.close();
  const statuses = (of: 'case' | 'letter') => [...new Set(was[of].map(({ document }) => document.status))];
  expect(statuses('case')).toEqual(expect.arrayContaining(['received', 'processing', 'closed']));
  expect(statuses('letter')).toEqual(expect.arrayContaining(['drafted', 'written', 'accepted']));
});
