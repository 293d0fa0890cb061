// Real: services as many processes under load, and as none at all.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { caseRequest, smallStatement } from './case-request.ts';
import { samples } from './program.ts';
import { type CaseResult, RunningSystem } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { until } from './until.ts';

test('under load a service scales out, to its maximum and no further; when the load is over it sleeps', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample', '--idle', '1s'] });
  const most = new Map<string, number>();
  const look = async () => {
    for (const { name, instances } of await system.services()) most.set(name, Math.max(most.get(name) ?? 0, instances));
  };
  const request = caseRequest({ statement: { inline: smallStatement() } });
  const ids = await Promise.all(Array.from({ length: 60 }, () => system.open(request)));
  type Page = { workflows: { id: string; status: string }[] };
  await until('all sixty cases closed', async () => {
    await look();
    const { workflows } = await system.get<Page>('/api/workflows?limit=100');
    return workflows.length === ids.length && workflows.every(({ status }) => status === 'closed');
  });
  expect(Math.max(...most.values()), `instances at most: ${JSON.stringify([...most])}`).toBeGreaterThan(1);
  for (const [name, instances] of most) expect({ name, atMost4: instances <= 4 }).toEqual({ name, atMost4: true });
  await until('all services asleep', async () => (await system.services()).every(({ state }) => state === 'asleep'));
  await until('no process but the host', () => system.program.family.members().length === 1);
});

test('a service whose every slot is held is scaled out for who waits behind', async () => {
  const bank = await StatementServer.start();
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample', '--idle', '10m'] });
  try {
    // One instance of data takes 16 at a time; the bank answers none of them until there is a second one.
    const slow = bank.on('/slow.json', 'hold');
    await Promise.all(Array.from({ length: 16 }, () => system.open(caseRequest({ statement: { url: slow } }))));
    await until('all slots are held', () => bank.asked('/slow.json') >= 16);
    const url = bank.on('/quick.json', JSON.stringify(smallStatement()));
    const id = await system.open(caseRequest({ statement: { url } }));
    await system.reaches(id, 'closed');
    expect((await system.services()).find(({ name }) => name === 'data')).toMatchObject({
      instances: 2,
      state: 'awake',
    });
  } finally {
    bank.close();
  }
});

test('--inline all: the same results, and no process but the host', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample', '--inline', 'all'] });
  for (const name of ['mixed.json', 'chinese.json', 'clean.json']) {
    const { code, result } = await system.case(join(samples, name));
    expect({ name, code }).toEqual({ name, code: 0 });
    const expected: CaseResult['findings'] = JSON.parse(
      readFileSync(join(samples, name.replace('.json', '.expected.json')), 'utf8'),
    );
    expect(result.findings).toHaveLength(expected.length);
    expect(result.findings).toEqual(expect.arrayContaining(expected));
    for (const letter of result.letters) expect(existsSync(letter)).toBe(true);
    expect(system.program.family.members()).toHaveLength(1);
  }
  const escalated = await system.case(join(samples, 'requests/rejecting-counterparty.json'));
  expect(escalated.code).toBe(3);
  for (const status of await system.services())
    expect(status).toMatchObject({ state: 'inline', instances: 0, wakes: 0 });
  expect((await system.stop()).code).toBe(0);
});

test('--inline NAMES puts just those into the host', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample', '--inline', 'intake,admin', '--idle', '10m'] });
  const { code } = await system.case(join(samples, 'arithmetic.json'));
  expect(code).toBe(0);
  const states = Object.fromEntries((await system.services()).map(({ name, state }) => [name, state === 'inline']));
  expect(states).toEqual({
    intake: true,
    admin: true,
    data: false,
    processing: false,
    tracking: false,
    communication: false,
  });
  expect(system.program.family.find('intake.mjs')).toEqual([]);
  expect(system.program.family.find('processing.mjs')).toHaveLength(1);
});

test('--spare 1: a waiting process becomes the service that is needed, another takes its place, all end on Ctrl-C', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample', '--spare', '1', '--idle', '1s'] });
  const waiting = () => system.program.family.find('spare.process.mjs');
  const [first] = await until('one spare waits', () => (waiting().length === 1 ? waiting() : undefined));
  const { code } = await system.case(join(samples, 'arithmetic.json'));
  expect(code).toBe(0);
  const logged = readFileSync(join(system.data, 'host.log'), 'utf8').trim().split('\n');
  const woken = logged.map((line) => JSON.parse(line)).filter(({ moment }) => moment === 'instance.woken');
  expect(woken).toContainEqual(expect.objectContaining({ service: 'intake', pid: first!.pid }));
  await until('all services asleep', async () => (await system.services()).every(({ state }) => state === 'asleep'));
  const [second] = await until('one spare again, and nothing else', () =>
    waiting().length === 1 && system.program.family.members().length === 2 ? waiting() : undefined,
  );
  // One that dies is missed by nobody: the next service starts as it would without.
  process.kill(second!.pid, 'SIGKILL');
  await until('no spare', () => waiting().length === 0);
  expect((await system.case(join(samples, 'clean.json'))).code).toBe(0);
  expect((await system.stop()).code).toBe(0);
  expect(system.program.family.members()).toEqual([]);
});
