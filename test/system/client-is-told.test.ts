// Real: mail by SMTP, text messages and letters by HTTP, into the sandbox, which shows what it was given.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { samples } from './program.ts';
import { RunningSystem, type SandboxItem } from './running-system.ts';

const clara = { name: 'Clara Jensen', email: 'clara@client.example', phone: '+4532123456' };

let system: RunningSystem;
beforeAll(async () => {
  system = await RunningSystem.start({ args: ['--no-sample'] });
});
afterAll(() => system?.destroy());

async function captured(workflowId: string): Promise<Record<SandboxItem['kind'], SandboxItem[]>> {
  const { items } = await system.records(workflowId);
  const of = (kind: SandboxItem['kind']) => items.filter((item) => item.kind === kind).reverse();
  return { mail: of('mail'), sms: of('sms'), submission: of('submission'), answer: of('answer') };
}

function keysOf(items: readonly SandboxItem[]): unknown[] {
  return items.map(({ key }) => key);
}

test('at every turn the client gets one mail and one text message, each with a key of its own', async () => {
  const { result } = await system.case(join(samples, 'sample-case.json'));
  const { mail, sms } = await captured(result.workflowId);
  expect(mail.map(({ subject }) => subject)).toEqual([
    expect.stringContaining('opened your case'),
    expect.stringContaining('letters are on their way'),
    expect.stringContaining('case is closed'),
  ]);
  for (const { to, text } of mail) {
    expect(to).toEqual([clara.email]);
    expect(text).toContain(clara.name);
    expect(text).toContain(result.workflowId);
  }
  expect(sms.map(({ to }) => to)).toEqual([clara.phone, clara.phone, clara.phone]);
  const keys = keysOf([...mail, ...sms]);
  expect(keys).toEqual(Array(6).fill(expect.stringMatching(/./)));
  expect(new Set(keys).size).toBe(6);
});

test('each letter is submitted once, to its own merchant, and answered once', async () => {
  const { result } = await system.case(join(samples, 'sample-case.json'));
  const { submission, answer } = await captured(result.workflowId);
  const merchants = [...new Set(result.findings.map(({ merchant }) => merchant))].toSorted();
  expect(submission.map(({ merchant }) => merchant).toSorted()).toEqual(merchants);
  expect(answer.map(({ merchant }) => merchant).toSorted()).toEqual(merchants);
  expect(new Set(keysOf(submission)).size).toBe(merchants.length);
  expect(new Set(submission.map(({ letterId }) => letterId)).size).toBe(merchants.length);
});

test('a rejected client is told why', async () => {
  const { result } = await system.case(join(samples, 'requests/missing-scope.json'));
  const { mail, sms, submission } = await captured(result.workflowId);
  expect(mail).toHaveLength(1);
  expect(mail[0]!.text).toContain(result.reasons[0]);
  expect(sms).toHaveLength(1);
  expect(submission).toEqual([]);
});

test('where a case is escalated, client and operators are told', async () => {
  const { result } = await system.case(join(samples, 'requests/rejecting-counterparty.json'));
  const { items } = await system.records();
  const mails = items.filter(({ kind, subject }) => kind === 'mail' && subject.includes(result.workflowId));
  expect(mails.find(({ to }) => to.includes(clara.email) && to.length === 1)?.subject).toBeDefined();
  const alert = mails.find(({ to }) => to.includes('operators@casework.example'));
  expect(alert?.text).toContain(result.reasons[0]);
});

test('an answer that is lost on the way is asked for again, and still there is one letter, one message, one case', async () => {
  for (const target of ['counterparties', 'bank']) {
    const fault = { target, mode: 'reset', times: 1 };
    const set = await fetch(`${system.url}/sandbox/faults`, { method: 'PUT', body: JSON.stringify(fault) });
    expect(set.status).toBe(200);
  }
  const before = (await system.records()).counts.submission;
  const { code, result } = await system.case(join(samples, 'sample-case.json'));
  expect({ code, status: result.status }).toEqual({ code: 0, status: 'closed' });
  const after = (await system.records()).counts.submission;
  expect(after.effects - before.effects).toBe(4);
  expect(after.distinctKeys - before.distinctKeys).toBe(4);
  expect(after.repeats - before.repeats).toBe(1);
  expect((await captured(result.workflowId)).submission).toHaveLength(4);
});

test('the sandbox shows it all to people, at /sandbox', async () => {
  const id = await system.open(caseRequest());
  await system.reaches(id, 'closed');
  const page = await fetch(`${system.url}/sandbox?workflow=${id}`);
  expect(page.headers.get('content-type')).toContain('text/html');
  expect(await page.text()).toContain(id);
});
