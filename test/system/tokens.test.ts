// Real: `dormouse token` beside a running host and without one, and what the first admin token lives through.
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { dormouse } from './program.ts';
import { hostFile, onlyJsonLine, RunningSystem } from './running-system.ts';
import { temporaryFolder } from './temporary-folder.ts';

const folder = temporaryFolder();

interface Made {
  readonly id: string;
  readonly token: string;
}

function ask(system: RunningSystem, token: string, path = '/api/tokens'): Promise<Response> {
  return fetch(system.url + path, { headers: { authorization: `Bearer ${token}` } });
}

test('the first admin token outlives restarts; once revoked it is refused at once, after a restart too, and a new one is made without a host', async () => {
  const first = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const { data } = first;
  const { token } = first.host;
  expect(readFileSync(join(data, 'admin-token'), 'utf8').trim()).toBe(token);
  expect((await first.stop()).code).toBe(0);

  const second = await RunningSystem.ofThisTest({ data });
  expect(second.host.token).toBe(token);
  const { tokens } = onlyJsonLine<{ tokens: { id: string; tenant: string; role: string; name: string }[] }>(
    (await second.run(['token', 'list', '--json'])).stdout,
  );
  expect(tokens).toMatchObject([{ tenant: '*', role: 'admin', name: 'first' }]);
  const revoked = await second.run(['token', 'revoke', tokens[0]!.id]);
  expect(revoked).toMatchObject({ code: 0, stdout: `${tokens[0]!.id} is revoked\n` });
  expect((await ask(second, token)).status).toBe(401);
  expect(existsSync(join(data, 'admin-token'))).toBe(false);
  expect(hostFile(data)).not.toHaveProperty('token');
  const without = await second.run(['cases']);
  expect(without).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^dormouse: .*revoked.*--token.*token create.*\n$/),
  });
  await second.stop();

  const third = await RunningSystem.ofThisTest({ data });
  expect(third.program.stdout).toContain('the first one was revoked');
  expect(existsSync(join(data, 'admin-token'))).toBe(false);
  expect((await ask(third, token)).status).toBe(401);
  await third.stop();

  const made = await dormouse(['token', 'create', '--tenant', '*', '--role', 'admin', '--json', '--data', data]);
  const { token: another } = onlyJsonLine<Made>(made.stdout, made.stderr);
  const fourth = await RunningSystem.ofThisTest({ data });
  expect((await ask(fourth, another)).status).toBe(200);
  expect((await fourth.run(['cases', '--token', another])).code).toBe(0);
  expect((await fourth.run(['cases'], { environment: { DORMOUSE_TOKEN: another } })).code).toBe(0);
  expect((await fourth.run(['cases', '--token', token])).stderr).toMatch(/the token was revoked/);
});

test('a token made for a tenant opens its cases; its secret is shown once and nowhere kept', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const made = await system.run([
    'token',
    'create',
    '--tenant',
    'acme',
    '--role',
    'operator',
    '--name',
    'desk',
    '--expires',
    '30d',
  ]);
  expect(made).toMatchObject({ code: 0, stderr: expect.stringContaining('shown once') });
  expect(made.stdout).toMatch(/^dm_[0-9A-Z]{16}_[\w-]{43}\n$/);
  const token = made.stdout.trim();
  const secret = token.slice(-43);

  const request = join(folder, 'case.json');
  writeFileSync(request, JSON.stringify(caseRequest()));
  const theirs = await system.run(['case', request, '--json', '--token', token]);
  const { workflowId } = onlyJsonLine(theirs.stdout, theirs.stderr);
  const ours = await system.run(['case', request, '--json', '--tenant', 'bolt']);
  expect([theirs.code, ours.code]).toEqual([0, 0]);
  const listed = async (...args: string[]) => {
    const { stdout } = await system.run(['cases', '--json', ...args]);
    return onlyJsonLine<{ cases: { id: string }[] }>(stdout).cases.map(({ id }) => id);
  };
  expect(await listed('--token', token)).toEqual([workflowId]);
  expect(await listed('--tenant', 'acme')).toEqual([workflowId]);
  expect(await listed('--tenant', 'bolt')).toEqual([onlyJsonLine(ours.stdout).workflowId]);
  expect(await listed()).toHaveLength(2);
  const { stdout: all } = await system.run(['cases']);
  for (const whose of ['acme', 'bolt'])
    expect(all).toMatch(new RegExp(`^WF-\\S+ +closed +${whose} +client-clara`, 'm'));

  const table = await system.run(['token']);
  expect(table.stdout).toMatch(/acme +operator +desk +\S+ \S+ +good until/);
  expect(table.stdout).not.toContain(secret);
  await system.stop();
  for (const file of ['dormouse.db', 'dormouse.db-wal', 'host.log']) {
    const path = join(system.data, file);
    if (existsSync(path)) expect({ file, told: readFileSync(path).includes(secret) }).toEqual({ file, told: false });
  }
});

describe.concurrent('what is mistyped is one clear line', () => {
  test.each([
    ['no role', ['create'], /--role must be client, operator, admin\n/],
    ['no such role', ['create', '--role', 'king'], /got "king"/],
    ['no tenant', ['create', '--role', 'client', '--tenant', 'No Tenant'], /--tenant: "No Tenant"/],
    ['the house for a client', ['create', '--role', 'client', '--tenant', '*'], /for the role admin/],
    ['no duration', ['create', '--role', 'client', '--expires', 'soon'], /--expires/],
    ['no id', ['revoke'], /needs the ID/],
    ['no action', ['forge'], /"forge" is no action/],
    ['no data directory', ['create', '--role', 'client'], /is no data directory yet/],
  ])('%s', async (_title, args, message) => {
    const data = join(mkdtempSync(join(folder, 'none-')), 'data');
    const { code, stdout, stderr } = await dormouse(['token', ...args, '--data', data]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^dormouse: [^\n]+\n$/);
    expect(existsSync(data)).toBe(false);
  });
});
