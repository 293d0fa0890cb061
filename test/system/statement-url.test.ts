// Real: statements served over HTTP on loopback, fetched by the data service's own process.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { caseRequest, requestFile, smallStatement } from './case-request.ts';
import { npm, samples } from './program.ts';
import { onlyJsonLine, RunningSystem } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
let system: RunningSystem;
let bank: StatementServer;
let elsewhere: StatementServer;
let files = 0;
beforeAll(async () => {
  [bank, elsewhere] = [await StatementServer.start(), await StatementServer.start()];
  system = await RunningSystem.start({ args: ['--no-sample'] });
});
afterAll(() => {
  system?.destroy();
  bank?.close();
  elsewhere?.close();
});

function caseFrom(url: string): ReturnType<RunningSystem['case']> {
  return system.case(requestFile(folder, `request-${++files}.json`, caseRequest({ statement: { url } })));
}

test('a statement served from a loopback URL goes through `npm run case`', async () => {
  const url = bank.on('/overcharge.json', readFileSync(join(samples, 'overcharge.json'), 'utf8'));
  const file = requestFile(folder, 'by-npm.json', caseRequest({ statement: { url } }));
  const { code, stdout } = await npm(['run', '--silent', 'case', '--', file, '--json', '--data', system.data]);
  expect(code).toBe(0);
  const { status, findings } = onlyJsonLine(stdout);
  expect(status).toBe('closed');
  expect(findings).toHaveLength(5);
  expect(bank.asked('/overcharge.json')).toBe(1);
});

describe.concurrent('what the outside answers decides', () => {
  test('a CSV, with a query and after a redirect on the same host, is a statement too', async () => {
    bank.on('/export.csv?token=1', readFileSync(join(samples, 'card-export.csv'), 'utf8'));
    const { code, result } = await caseFrom(bank.on('/moved', { redirect: '/export.csv?token=1' }));
    expect({ code, status: result.status }).toEqual({ code: 0, status: 'closed' });
    expect(result.findings).toHaveLength(2);
  });

  test('500 twice, then a statement: retried, closed, and the trace shows attempts and errors', async () => {
    const { code, result } = await caseFrom(bank.on('/500-twice.json', 500, 500, JSON.stringify(smallStatement())));
    expect({ code, status: result.status }).toEqual({ code: 0, status: 'closed' });
    expect(bank.asked('/500-twice.json')).toBe(3);

    const { stdout } = await system.run(['trace', result.workflowId]);
    const [fetched] = stdout.split('\n\n').filter((block) => block.includes('Topic: data.fetch'));
    expect(fetched).toMatch(/^\S+ \S+: intake → data$/m);
    expect(fetched).toMatch(/^ {2}Status: done in .+, 3 attempts$/m);
    expect(fetched).toMatch(/^ {2}Attempt 1: .*answers 500/m);
    expect(fetched).toMatch(/^ {2}Attempt 2: .*answers 500/m);
  });

  test('always 500: five attempts, a dead letter with its cause, and a person is asked', async () => {
    const { code, result } = await caseFrom(bank.on('/always-500.json', 500));
    expect({ code, status: result.status }).toEqual({ code: 3, status: 'escalated' });
    expect(result.reasons).toEqual([expect.stringMatching(/^data\.fetch failed 5 times; dead letter \w+ tells why$/)]);
    expect(bank.asked('/always-500.json')).toBe(5);

    const rows = await system.trace(result.workflowId);
    expect(rows.find(({ topic }) => topic === 'data.fetch')).toMatchObject({
      status: 'dead-lettered',
      attempts: 5,
      errors: Array(5).fill(expect.stringContaining('answers 500')),
    });
    const { stdout } = await system.run(['trace', result.workflowId]);
    expect(stdout).toMatch(/ {2}Topic: data\.fetch\n {2}Status: dead-lettered.*5 attempts/);
    expect(stdout).toMatch(/: admin → admin\n {2}Topic: workflow\.escalate\n {2}Status: done/);

    const mails = (await system.records()).items.filter(
      ({ kind, subject }) => kind === 'mail' && subject.includes(result.workflowId),
    );
    expect(mails.map(({ to }) => to).toSorted()).toEqual([
      ['clara@client.example'],
      ['clara@client.example'],
      ['operators@casework.example'],
    ]);
  });

  test('a slow API is asked once, whatever else happens to the case meanwhile', async () => {
    const url = bank.on('/slow.json', 'hold', JSON.stringify(smallStatement()));
    const id = await system.open(caseRequest({ statement: { url } }));
    await until('the bank is asked', () => bank.asked('/slow.json') === 1);
    await until('the client is told that the case is opened', async () =>
      (await system.trace(id)).some(({ topic, status }) => topic === 'notify.client' && status === 'done'),
    );
    bank.release('/slow.json', JSON.stringify(smallStatement()));
    await system.reaches(id, 'closed');
    expect(bank.asked('/slow.json')).toBe(1);
  });

  test('a malformed statement: rejected with all problems by path, the client is told, nothing is retried', async () => {
    const statement = smallStatement();
    const [first, second] = statement.lines as Record<string, unknown>[];
    const malformed = {
      ...statement,
      currency: 'EURO',
      lines: [
        { ...first, date: '2025-02-30' },
        { ...second, id: 's1', amountMinor: -1, kind: 'gift' },
      ],
    };
    const { code, result } = await caseFrom(bank.on('/malformed.json', JSON.stringify(malformed)));
    expect({ code, status: result.status }).toEqual({ code: 2, status: 'rejected' });
    const paths = ['currency', 'lines[0].date', 'lines[1].id', 'lines[1].amountMinor', 'lines[1].kind'];
    expect(result.reasons.map((reason) => reason.split(':')[0]).toSorted()).toEqual(paths.toSorted());
    expect(bank.asked('/malformed.json')).toBe(1);
    const told = (await system.records(result.workflowId)).items.find(({ subject }) =>
      subject?.includes('could not take'),
    );
    for (const path of paths) expect(told?.text).toContain(path);
  });

  test('what is no statement at all is rejected, by the place where it breaks', async () => {
    const { code, result } = await caseFrom(bank.on('/broken.json', '{"accountId": "a",\n "lines": [}'));
    expect({ code, status: result.status }).toEqual({ code: 2, status: 'rejected' });
    expect(result.reasons).toEqual([expect.stringMatching(/^line 2, column \d+: malformed JSON/)]);
  });

  test('404 is rejected at once: asking again would not help', async () => {
    const { code, result } = await caseFrom(bank.on('/unknown.json', 404));
    expect({ code, status: result.status }).toEqual({ code: 2, status: 'rejected' });
    expect(result.reasons).toEqual([expect.stringContaining('answers 404')]);
    expect(bank.asked('/unknown.json')).toBe(1);
  });

  test('more than 10 MB is rejected', async () => {
    const { code, result } = await caseFrom(bank.on('/large.json', ' '.repeat(10_000_001)));
    expect({ code, status: result.status }).toEqual({ code: 2, status: 'rejected' });
    expect(result.reasons).toEqual([expect.stringContaining('10000000 bytes')]);
  });
});

describe.concurrent('where a statement may not be fetched from', () => {
  test('a redirect to another host is refused, and that host is not asked', async () => {
    const target = elsewhere.on('/stolen.json', JSON.stringify(smallStatement()));
    const { code, result } = await caseFrom(bank.on('/redirect.json', { redirect: target }));
    expect({ code, status: result.status }).toEqual({ code: 2, status: 'rejected' });
    expect(result.reasons).toEqual([expect.stringContaining('redirects to another host')]);
    expect(elsewhere.asked('/stolen.json')).toBe(0);
  });

  test('our own console and broker are refused, by address and by name', async () => {
    const urls = [
      `${system.url}/healthz`,
      `${system.brokerUrl}/v1/projects/dormouse/topics`,
      `${system.url.replace('127.0.0.1', 'localhost')}/healthz`,
      `${system.url.replace('127.0.0.1', '[::1]')}/healthz`,
    ];
    const refused = await Promise.all(urls.map(caseFrom));
    for (const [index, { code, result }] of refused.entries()) {
      expect({ url: urls[index], code, status: result.status }).toEqual({
        url: urls[index],
        code: 2,
        status: 'rejected',
      });
      expect(result.reasons).toEqual([expect.stringContaining('of this system itself')]);
    }
  });

  test('a host that is not on the allow-list is refused', async () => {
    const { code, result } = await caseFrom('http://statements.example/mine.json');
    expect({ code, status: result.status }).toEqual({ code: 2, status: 'rejected' });
    expect(result.reasons).toEqual([expect.stringContaining('CASEWORK_STATEMENT_HOSTS')]);
  });

  test('what is no http(s) URL, or holds a password, is a malformed request', async () => {
    for (const url of ['ftp://127.0.0.1/x', 'file:///etc/passwd', 'mine.json', 'http://me:secret@127.0.0.1/x']) {
      const { code, result } = await caseFrom(url);
      expect({ url, code }).toEqual({ url, code: 1 });
      expect(result.reasons).toEqual([expect.stringMatching(/^statement\.url: /)]);
      expect(result.reasons.join()).not.toContain('secret');
    }
  });
});

test('the trace shows a dead letter’s own way, from the service where it died to admin', async () => {
  const fault = { target: 'counterparties', mode: 'status', status: 400 };
  await fetch(`${system.url}/sandbox/faults`, { method: 'PUT', body: JSON.stringify(fault) });
  const id = await system.open(caseRequest({ statement: { inline: smallStatement() } }));
  await system.reaches(id, 'escalated');
  await fetch(`${system.url}/sandbox/faults`, { method: 'DELETE' });
  const rows = await system.trace(id);
  expect(rows.find(({ topic }) => topic === 'document.submit')).toMatchObject({ status: 'dead-lettered', attempts: 1 });
  expect(rows.find(({ topic }) => topic === 'dead.letter')).toMatchObject({
    from: 'processing',
    to: 'admin',
    status: 'done',
  });
});

test('CASEWORK_STATEMENT_HOSTS is the allow-list: what it does not name is refused, loopback too', async () => {
  const listed = await RunningSystem.ofThisTest({
    args: ['--no-sample'],
    environment: { CASEWORK_STATEMENT_HOSTS: new URL(bank.url).host },
  });
  const text = JSON.stringify(smallStatement());
  const request = (url: string) => requestFile(folder, `listed-${++files}.json`, caseRequest({ statement: { url } }));
  const allowed = await listed.case(request(bank.on('/listed.json', text)));
  expect(allowed.result.status).toBe('closed');
  const refused = await listed.case(request(elsewhere.on('/unlisted.json', text)));
  expect(refused.result.status).toBe('rejected');
  expect(elsewhere.asked('/unlisted.json')).toBe(0);
});
