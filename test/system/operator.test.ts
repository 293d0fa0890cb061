import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { caseRequest, requestFile, smallStatement } from './case-request.ts';
import { Program, samples } from './program.ts';
import { onlyJsonLine, RunningSystem } from './running-system.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

// What an operator does to a running system: cancels a case, redrives a dead letter.
let system: RunningSystem;
const folder = temporaryFolder();

beforeAll(async () => {
  system = await RunningSystem.start({ args: ['--no-sample'] });
});
afterAll(() => system.destroy());

const silent = () =>
  caseRequest({ statement: { inline: smallStatement() }, sandbox: { replies: { 'Corner Café': 'silent' } } });

test('a case that is cancelled ends with exit code 4: its timers are gone, the client is told', async () => {
  const file = requestFile(folder, 'silent.json', silent());
  const following = Program.dormouse(['case', file, '--json', '--data', system.data]);
  const id = await until('the case is tracked', async () => {
    const { workflows } = await system.get<{ workflows: { id: string; status: string }[] }>('/api/workflows');
    return workflows.find(({ status }) => status === 'tracking')?.id;
  });
  const cancelled = await system.run(['cases', 'cancel', id, 'changed my mind']);
  expect(cancelled).toMatchObject({ code: 0, stdout: `${id} is being cancelled\n` });
  const { code, stdout } = await following.finished();
  expect(code).toBe(4);
  expect(onlyJsonLine(stdout)).toMatchObject({ workflowId: id, status: 'cancelled', reasons: ['changed my mind'] });
  expect((await system.run(['trace', id])).stdout).not.toContain('pending timer');
  const { items } = await system.records(id);
  expect(items.filter(({ kind, subject }) => kind === 'mail' && subject.includes('withdrawn'))).toHaveLength(1);
});

test('a case that is over, or is none, is not cancelled', async () => {
  const { result } = await system.case(join(samples, 'clean.json'));
  const over = await system.run(['cases', 'cancel', result.workflowId, 'too late']);
  expect(over).toMatchObject({ code: 1, stderr: expect.stringContaining('is closed; only a case that is not over') });
  const none = await system.run(['cases', 'cancel', 'WF-20250129-7K3QXM', 'why not']);
  expect(none).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('there is no document "workflows/WF-20250129-7K3QXM"'),
  });
});

test('an escalated case waits for a decision, which closes it with its reason in the log', async () => {
  const file = join(samples, 'requests/rejecting-counterparty.json');
  const { code, result } = await system.case(file);
  expect({ code, status: result.status }).toEqual({ code: 3, status: 'escalated' });
  const id = result.workflowId;
  const none = await system.run(['cases', 'decide', id]);
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('either --accept REASON or --close REASON') });
  const decided = await system.run(['cases', 'decide', id, '--accept', 'good enough']);
  expect(decided).toMatchObject({ code: 0, stdout: `${id} is accepted as it stands, and closes\n` });
  await system.reaches(id, 'closed');
  const { events } = await system.get<{ events: unknown[] }>(`/api/workflows/${id}/events`);
  expect(JSON.stringify(events)).toContain('accept: good enough');
  const again = await system.run(['cases', 'decide', id, '--close', 'once more']);
  expect(again).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/is (reviewing|closed); only an escalated case waits/),
  });
});

test('a dead letter is listed with its cause, shown with its event, and redriven to the one that failed', async () => {
  const fault = { target: 'sms', mode: 'status', status: 400 };
  await fetch(`${system.url}/sandbox/faults`, { method: 'PUT', body: JSON.stringify(fault) });
  const [id, another] = [
    await system.open(caseRequest({ statement: { inline: smallStatement() } })),
    await system.open(caseRequest({ statement: { inline: smallStatement() } })),
  ];
  // The first text message dies, and the two of later turns wait behind it.
  const deadOf = (workflowId: string) =>
    until(`a dead letter of ${workflowId} that holds two`, async () => {
      const { stdout } = await system.run(['dead-letters', '--json']);
      const { deadLetters } = JSON.parse(stdout) as {
        deadLetters: { id: string; workflow: string; state: string; held?: number }[];
      };
      return deadLetters.find(({ workflow, held }) => workflow === `workflows/${workflowId}` && held === 2);
    });
  const letter = await deadOf(id);
  const other = (await deadOf(another)).id;
  for (const each of [id, another]) await system.reaches(each, 'closed');
  expect(letter).toMatchObject({
    state: 'open',
    topic: 'notify.client',
    subscription: 'communication.notify.client.sms',
    attempts: 1,
  });
  const shown = await system.run(['dead-letters', 'show', letter.id]);
  expect(shown.stdout).toMatch(/cause +PermanentError: SMS gateway .* answered 400/);
  expect(shown.stdout).toMatch(/data +\{"about":/);

  await fetch(`${system.url}/sandbox/faults`, { method: 'DELETE' });
  const before = await system.records(id);
  const redriven = await system.run(['dead-letters', 'redrive', letter.id]);
  expect(redriven).toMatchObject({ code: 0, stdout: `${letter.id} goes back to communication.notify.client.sms\n` });
  await until('it is resolved', async () => {
    const { state } = await system.get<{ state: string }>(`/api/dead-letters/${letter.id}`);
    return state === 'resolved';
  });
  // What waited behind it follows.
  const after = await until('three text messages', async () => {
    const records = await system.records(id);
    return records.counts.sms.effects >= before.counts.sms.effects + 3 && records;
  });
  expect([after.counts.mail.effects, after.counts.mail.repeats]).toEqual([before.counts.mail.effects, 0]);
  const again = await system.run(['dead-letters', 'redrive', letter.id]);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('is resolved; only an open one') });

  const unexplained = await system.run(['dead-letters', 'discard', other]);
  expect(unexplained).toMatchObject({ code: 1, stderr: expect.stringContaining('needs a reason') });
  const discarded = await system.run(['dead-letters', 'discard', other, 'the client was called instead']);
  expect(discarded).toMatchObject({ code: 0, stdout: `${other} is discarded\n` });
  expect((await system.run(['dead-letters', 'show', other])).stdout).toMatch(
    /state +discarded[\s\S]*discarded +\S+ \S+: the client was called instead/,
  );
  for (const action of [['redrive'], ['discard', 'once more']]) {
    const refused = await system.run(['dead-letters', action[0]!, other, ...action.slice(1)]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('is discarded; only an open one') });
  }
});

test('a paused subscription gets nothing, also after a restart; resumed, it gets all that came meanwhile', async () => {
  const data = join(folder, 'paused');
  const paused = await RunningSystem.ofThisTest({ args: ['--no-sample'], data });
  const name = 'processing.data.analyze';
  expect((await paused.run(['subscriptions', 'pause', name])).stdout).toContain(`${name} is paused`);
  const id = await paused.open(caseRequest({ statement: { inline: smallStatement() } }));
  const waits = async (system: RunningSystem) => {
    const { subscriptions } = JSON.parse((await system.run(['subscriptions', '--json'])).stdout);
    return subscriptions.find((each: { name: string }) => each.name === name);
  };
  await until('the event waits at the paused subscription', async () => (await waits(paused)).backlog === 1);
  await paused.stop();
  const again = await RunningSystem.ofThisTest({ args: ['--no-sample'], data });
  expect(await waits(again)).toMatchObject({ topic: 'data.analyze', backlog: 1, paused: true });
  expect((await again.services()).find(({ name }) => name === 'processing')).toMatchObject({ wakes: 0 });
  expect((await again.run(['topics'])).stdout).toMatch(/processing\.data\.analyze +1, paused/);
  expect((await again.run(['subscriptions', 'resume', name])).stdout).toBe(`${name} is resumed\n`);
  await again.reaches(id, 'closed');
  const unknown = await again.run(['subscriptions', 'pause', 'processing.nothing']);
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('no subscription "processing.nothing"') });
});

test('a pause that an older program kept in its own way holds until it is resumed', async () => {
  const data = join(folder, 'older');
  const before = await RunningSystem.ofThisTest({ args: ['--no-sample'], data });
  await before.stop();
  const name = 'processing.data.analyze';
  const database = new DatabaseSync(join(data, 'dormouse.db'));
  database
    .prepare("UPDATE subscription SET config = json_set(config, '$.pushConfig', json('{}')) WHERE name LIKE ?")
    .run(`%/${name}`);
  database
    .prepare(
      "INSERT INTO document (ref, collection, tenant, version, created_at, data) VALUES (?, 'paused-subscriptions', '*', 1, 0, ?)",
    )
    .run(`paused-subscriptions/${name}`, JSON.stringify({ name, pausedAt: 0 }));
  database.close();
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'], data });
  expect((await system.run(['topics'])).stdout).toMatch(/processing\.data\.analyze +0, paused/);
  const id = await system.open(caseRequest({ statement: { inline: smallStatement() } }));
  expect((await system.run(['subscriptions', 'resume', name])).stdout).toBe(`${name} is resumed\n`);
  await system.reaches(id, 'closed');
  await system.stop();
  const again = await RunningSystem.ofThisTest({ args: ['--no-sample'], data });
  expect((await again.run(['topics'])).stdout).not.toContain('paused');
});
