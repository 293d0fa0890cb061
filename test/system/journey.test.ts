// Real: one running system, asked by `dormouse trace`, `cases`, `services` and `topics`.
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { caseRequest, smallStatement } from './case-request.ts';
import { Program, samples } from './program.ts';
import { onlyJsonLine, RunningSystem, type ServiceStatus, type TraceRow } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { until } from './until.ts';

/** Of DESIGN's table: who listens to what. The seventeenth, audit.log, is for the console's live view. */
const listeners = {
  'workflow.initiate': 'intake',
  'data.fetch': 'data',
  'data.analyze': 'processing',
  'document.generate': 'processing',
  'document.submit': 'processing',
  'workflow.track': 'tracking',
  'response.received': 'tracking',
  'workflow.followup': 'tracking',
  'workflow.complete': 'admin',
  'workflow.escalate': 'admin',
  'workflow.cancel': 'admin',
  'compliance.review': 'admin',
  'notify.client': 'communication',
  'notify.admin': 'communication',
  'dead.letter': 'admin',
  'retry.failed': 'admin',
};
const services = ['admin', 'communication', 'data', 'intake', 'processing', 'tracking'];

let system: RunningSystem;
let closed: string;
let silent: string;
beforeAll(async () => {
  system = await RunningSystem.start({ args: ['--no-sample', '--idle', '1s'] });
  closed = (await system.case(join(samples, 'sample-case.json'))).result.workflowId;
  const reply = { replies: { 'Skylark Airways': 'silent' } };
  silent = await system.open(caseRequest({ clientId: 'client-silent', sandbox: reply }));
  await until('all but one merchant have answered', async () => {
    const { documents } = await system.get<{ documents: { status: string }[] }>(
      `/api/workflows/${silent}/documents/letters`,
    );
    return documents.filter(({ status }) => status === 'accepted').length === 3;
  });
});
afterAll(() => system?.destroy());

describe.concurrent('trace', () => {
  test('tells the journey in the form of the first seed', async () => {
    const { code, stdout, stderr } = await system.run(['trace', closed]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const blocks = stdout.trimEnd().split('\n\n');
    const form =
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: [a-z]+ → [a-z]+\n {2}Topic: [a-z.]+\n {2}Status: \S.*(\n {2}Note: .+)?$/;
    for (const block of blocks) expect(block).toMatch(form);
    expect(blocks[0]).toMatch(/: frontend → intake\n {2}Topic: workflow\.initiate\n {2}Status: done in /);
    const hops = blocks.map((block) => `${/: (.*)/.exec(block)![1]} ${/Topic: (.*)/.exec(block)![1]}`);
    expect(new Set(hops)).toEqual(
      new Set([
        'frontend → intake workflow.initiate',
        'intake → data data.fetch',
        'intake → communication notify.client',
        'data → processing data.analyze',
        'processing → processing document.generate',
        'processing → processing document.submit',
        'processing → tracking workflow.track',
        'tracking → tracking workflow.followup',
        'tracking → communication notify.client',
        'counterparty → tracking response.received',
        'tracking → admin compliance.review',
        'admin → admin workflow.complete',
        'admin → communication notify.client',
      ]),
    );
    // The reminders that are not needed any more.
    expect(blocks.filter((block) => block.includes('workflow.followup'))).toEqual(
      Array(4).fill(expect.stringContaining('Status: cancelled')),
    );
    const stamps = blocks.map((block) => block.slice(0, 19));
    expect(stamps).toEqual(stamps.toSorted());
  });

  test('pending timers show what a silent counterparty is waited for', async () => {
    const { stdout } = await system.run(['trace', silent]);
    expect(stdout.match(/^pending timer .+: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/gm)).toHaveLength(1);
    expect(stdout).toMatch(/Topic: workflow\.followup\n {2}Status: scheduled \(due \d{4}-/);
    const { pendingTimers } = onlyJsonLine<{ pendingTimers: { dueAt: number }[] }>(
      (await system.run(['trace', silent, '--json'])).stdout,
    );
    const inDays = (pendingTimers[0]!.dueAt - Date.now()) / 86_400_000;
    expect(inDays).toBeGreaterThan(29.9);
    expect(inDays).toBeLessThanOrEqual(30);
  });

  test('--json is one object on one line; data only with --payloads', async () => {
    const traced = async (...args: string[]) => {
      const { stdout } = await system.run(['trace', closed, '--json', ...args]);
      return onlyJsonLine<{ workflowId: string; rows: TraceRow[]; pendingTimers: unknown[] }>(stdout);
    };
    const [plain, full] = await Promise.all([traced(), traced('--payloads')]);
    expect(plain).toMatchObject({ workflowId: closed, pendingTimers: [] });
    expect(plain.rows[0]).toMatchObject({
      from: 'frontend',
      to: 'intake',
      topic: 'workflow.initiate',
      status: 'done',
      attempts: 1,
    });
    for (const row of plain.rows) expect(row).not.toHaveProperty('data');
    for (const row of full.rows) expect(row).toHaveProperty('data');
    expect(full.rows.length).toBe(plain.rows.length);
  });

  test('--payloads shows the data of each event, which holds no statement, no finding and nothing personal', async () => {
    const { stdout } = await system.run(['trace', closed, '--payloads']);
    expect(stdout.match(/^ {2}Data: \{.*\}$/gm)?.length).toBe(stdout.match(/^ {2}Topic: /gm)?.length);
    for (const secret of ['Clara', 'clara@', '+4532', 'household-1014', 'Skylark', 'amountMinor', 'lineIds'])
      expect(stdout).not.toContain(secret);
  });

  test('an unknown id is a clear error', async () => {
    for (const id of ['WF-20250129-7K3QXM', '../../etc/passwd', '']) {
      const { code, stdout, stderr } = await system.run(['trace', id]);
      expect({ id, code, stdout }).toEqual({ id, code: 1, stdout: '' });
      expect(stderr).toMatch(/^dormouse: [^\n]+\n$/);
      expect(stderr).toContain(id);
    }
  });

  test('there is colour on a terminal, none elsewhere, and none with NO_COLOR', async ({ skip }) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what makes colour
    const colour = /\u001b\[\d+m/;
    expect((await system.run(['trace', closed])).stdout).not.toMatch(colour);
    const args = ['trace', closed, '--data', system.data];
    const onTerminal = await Program.onTerminal(args)
      .finished()
      .catch(() => undefined);
    if (!onTerminal) return skip('script(1), which makes the terminal, is not here');
    expect(onTerminal.stdout).toMatch(colour);
    const plain = await Program.onTerminal(args, { environment: { NO_COLOR: '1' } }).finished();
    expect(plain.stdout).not.toMatch(colour);
    expect(stripVTControlCharacters(onTerminal.stdout)).toBe(plain.stdout);
  });
});

test('cases lists what was opened, the newest first', async () => {
  const { code, stdout } = await system.run(['cases']);
  expect(code).toBe(0);
  const [head, ...rows] = stdout.trimEnd().split('\n');
  expect(head).toMatch(/^CASE +STATUS +CLIENT +OPENED$/);
  expect(rows).toEqual([
    expect.stringMatching(new RegExp(`^${silent} +tracking +client-silent +\\d{4}-`)),
    expect.stringMatching(new RegExp(`^${closed} +closed +client-clara +\\d{4}-`)),
  ]);
  const one = onlyJsonLine<{ cases: { id: string }[] }>((await system.run(['cases', '--json', '--limit', '1'])).stdout);
  expect(one.cases.map(({ id }) => id)).toEqual([silent]);
  for (const limit of ['0', '501', 'many']) {
    const refused = await system.run(['cases', '--limit', limit]);
    expect({ limit, code: refused.code }).toEqual({ limit, code: 1 });
    expect(refused.stderr).toContain(`"${limit}"`);
  }
});

test('topics lists the seventeen, who listens, and what waits', async () => {
  const { code, stdout } = await system.run(['topics']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^TOPIC +SUBSCRIPTION +WAITING$/m);
  const { topics } = onlyJsonLine<{ topics: { name: string; subscriptions: { name: string; backlog: number }[] }[] }>(
    (await system.run(['topics', '--json'])).stdout,
  );
  expect(topics.map(({ name }) => name).toSorted()).toEqual([...Object.keys(listeners), 'audit.log'].toSorted());
  for (const [topic, service] of Object.entries(listeners)) {
    expect(stdout).toMatch(
      new RegExp(`^${topic.replace('.', '\\.')} +${service}\\.${topic.replace('.', '\\.')} +\\d+$`, 'm'),
    );
    expect(topics.find(({ name }) => name === topic)?.subscriptions.map(({ name }) => name)).toEqual([
      `${service}.${topic}`,
      // Mails and text messages do not wait for each other.
      ...(topic === 'notify.client' ? [`${service}.${topic}.sms`] : []),
    ]);
  }
});

test('a service is seen asleep, awake in a process of its own, and asleep again', async () => {
  const statusOf = async (name: string) => (await system.services()).find((service) => service.name === name)!;
  const allAsleep = () =>
    until('all services asleep', async () => (await system.services()).every(({ state }) => state === 'asleep'));
  await allAsleep();
  // The host, and nobody else.
  await until('no other process', () => system.program.family.members().length === 1);
  const before = await statusOf('data');
  expect(before).toMatchObject({ state: 'asleep', instances: 0, inFlight: 0, lastExit: { reason: 'retired' } });

  // Awake for as long as its bank takes to answer.
  const bank = await StatementServer.start();
  onTestFinished(() => bank.close());
  const id = await system.open(caseRequest({ statement: { url: bank.on('/awake.json', 'hold') } }));
  const awake = await until('data awake', async () => {
    const status = await statusOf('data');
    return status.state === 'awake' && status;
  });
  expect(awake).toMatchObject({ instances: 1, wakes: before.wakes + 1 });
  expect(awake.since).toBeGreaterThan(before.since);
  expect(system.program.family.find('data.mjs')).toHaveLength(1);
  await until('the bank is asked', () => bank.asked('/awake.json') > 0);
  bank.release('/awake.json', JSON.stringify(smallStatement()));

  await system.reaches(id, 'closed');
  await allAsleep();
  const after = await statusOf('data');
  expect(after).toMatchObject({
    state: 'asleep',
    instances: 0,
    wakes: before.wakes + 1,
    lastExit: { reason: 'retired' },
  });
  expect(after.lastExit!.at).toBeGreaterThan(before.lastExit!.at);
  await until('its process is gone', () => system.program.family.find('data.mjs').length === 0);

  const { code, stdout } = await system.run(['services']);
  expect(code).toBe(0);
  const [head, ...rows] = stdout.trimEnd().split('\n');
  expect(head).toMatch(/^SERVICE +STATE +SINCE +INSTANCES +IN FLIGHT +WAKES +LAST EXIT$/);
  expect(rows.map((row) => row.split(/ +/)[0]).toSorted()).toEqual(services);
  for (const row of rows)
    expect(row).toMatch(/^[a-z]+ +asleep +.+ +0 +0 +\d+ +retired at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
  const listed = onlyJsonLine<{ services: ServiceStatus[] }>((await system.run(['services', '--json'])).stdout);
  expect(listed.services.find(({ name }) => name === 'data')).toMatchObject({ state: 'asleep', wakes: after.wakes });
});
