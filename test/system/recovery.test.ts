// Real: processes interrupted and killed with work in flight. Whatever dies, the case goes on to its end.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { caseRequest, smallStatement } from './case-request.ts';
import { kill } from './process-family.ts';
import { Program, samples } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
let bank: StatementServer;
beforeAll(async () => {
  bank = await StatementServer.start();
});
afterAll(() => {
  bank.close();
});

/** A case whose first fetch is never answered; the second is. */
function heldCase(path: string): unknown {
  return caseRequest({ statement: { url: bank.on(path, 'hold', JSON.stringify(smallStatement())) } });
}

/** Each client is told once, each letter handed in once, whatever was repeated inside. */
async function expectOneOfEach(system: RunningSystem, workflowId: string, letters: number): Promise<void> {
  await until('all is quiet', async () =>
    (await system.trace(workflowId)).every(({ status }) => status !== 'published'),
  );
  const { counts } = await system.records(workflowId);
  expect(counts.submission).toMatchObject({ effects: letters, distinctKeys: letters });
  expect(counts.mail).toMatchObject({ effects: 3, distinctKeys: 3 });
  expect(counts.sms).toMatchObject({ effects: 3, distinctKeys: 3 });
}

test('Ctrl-C while a case is in flight, then npm start on the same directory: the case goes on to its end', async () => {
  const first = await RunningSystem.ofThisTest({ npm: true, args: ['--no-sample'] });
  const id = await first.open(heldCase('/interrupted.json'));
  await until('the bank is asked', () => bank.asked('/interrupted.json') === 1);
  expect((await first.stop()).code).toBe(0);

  const second = await RunningSystem.ofThisTest({ npm: true, data: first.data });
  await second.reaches(id, 'closed');
  await expectOneOfEach(second, id, 1);
});

test('Ctrl-C drains: what is answered while it stops is kept, and not asked for again', async () => {
  const first = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const url = bank.on('/drained.json', 'hold', JSON.stringify(smallStatement()));
  const id = await first.open(caseRequest({ statement: { url } }));
  await until('the bank is asked', () => bank.asked('/drained.json') === 1);
  first.program.interrupt();
  await until('the console stops', () =>
    fetch(`${first.url}/readyz`).then(
      ({ ok }) => !ok,
      () => true,
    ),
  );
  bank.release('/drained.json', JSON.stringify(smallStatement()));
  expect((await first.program.finished()).code).toBe(0);

  const second = await RunningSystem.ofThisTest({ data: first.data });
  await second.reaches(id, 'closed');
  expect(bank.asked('/drained.json')).toBe(1);
});

test('kill -9 of the host: its services exit by themselves, the next start takes over, and the cases end', async () => {
  const first = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const held = await first.open(heldCase('/killed.json'));
  const answered = await first.open(caseRequest());
  await until('the bank is asked', () => bank.asked('/killed.json') === 1);
  await first.reaches(answered, 'tracking');
  expect(first.program.family.members().length).toBeGreaterThan(1);
  kill(first.host.pid, 'SIGKILL');
  await until('all services exit', () => first.program.family.members().length === 0);
  expect(existsSync(join(first.data, 'host.json'))).toBe(true);

  const second = await RunningSystem.ofThisTest({ data: first.data });
  await second.reaches(answered, 'closed');
  await second.reaches(held, 'closed');
  await expectOneOfEach(second, answered, 4);
  await expectOneOfEach(second, held, 1);
});

test('kill -9 of an instance in the middle of its work: the case still ends', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const id = await system.open(heldCase('/instance.json'));
  await until('the bank is asked', () => bank.asked('/instance.json') === 1);
  const [instance] = system.program.family.find('data.mjs');
  kill(instance!.pid, 'SIGKILL');
  await until('the exit is told', async () => {
    const data = (await system.services()).find(({ name }) => name === 'data');
    return data?.lastExit?.reason === 'killed by SIGKILL';
  });
  await system.reaches(id, 'closed');
  await expectOneOfEach(system, id, 1);
  expect(bank.asked('/instance.json')).toBe(2);
});

test('kill -9 of `npm run case` and the system it started: the next start finishes the case', async () => {
  const data = join(folder, 'killed-command');
  const file = join(samples, 'sample-case.json');
  const program = Program.npm(['run', 'case', '--', file, '--data', data]);
  onTestFinished(() => program.family.killAll());
  const [, id] = await program.shows(/^case (WF-\S+)$/m);
  await program.shows(/document\.submit → workflow\.track/);
  program.kill();
  await until('all its processes are gone', () => program.family.members().length === 0);

  const next = await RunningSystem.ofThisTest({ data });
  await next.reaches(id!, 'closed');
  await expectOneOfEach(next, id!, 4);
});
