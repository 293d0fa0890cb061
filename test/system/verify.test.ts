// Real: `dormouse verify` on the data directory of a closed case, as it is and after somebody has been at its database.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeAll, expect, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { dormouse } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();
let data: string;
let workflowId: string;

beforeAll(async () => {
  const system = await RunningSystem.start({ args: ['--no-sample'] });
  try {
    workflowId = await system.open(caseRequest());
    await system.reaches(workflowId, 'closed');
    await system.stop();
  } finally {
    system.destroy();
  }
  data = system.data;
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
    `INSERT INTO document SELECT 'workflows/WF-forged', collection, tenant, version, created_at, due_at, data, settled_at FROM document WHERE collection = 'workflows'`,
  ],
])('%s is found and named', async (title, chain, problem, sql) => {
  const copy = join(folder, title.replaceAll(' ', '-'));
  cpSync(data, copy, { recursive: true });
  const database = new DatabaseSync(join(copy, 'dormouse.db'));
  expect(Number(database.prepare(sql).run().changes)).toBeGreaterThan(0);
  database.close();
  for (const args of title.includes('slipped in') ? [[], ['WF-forged']] : [[], [workflowId]]) {
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
