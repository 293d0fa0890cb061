// Real: the command as a process, through npm too, on a running system or one of its own.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { caseRequest, requestFile, smallStatement } from './case-request.ts';
import { npm, Program, root, samples } from './program.ts';
import { hostFile, onlyJsonLine, RunningSystem } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const requests = join(samples, 'requests');
const folder = temporaryFolder();
let system: RunningSystem;
beforeAll(async () => {
  system = await RunningSystem.start({ args: ['--no-sample'] });
});
afterAll(() => system?.destroy());

describe('the exit code tells the final status', () => {
  test('rejected 2, with the reason, where payment, consent, a scope or a document is missing', async () => {
    const wanted = {
      'unpaid.json': [/payment/],
      'missing-consent.json': [/fetch_statement/, /dispute_on_behalf/],
      'missing-scope.json': [/dispute_on_behalf/],
      'no-document.json': [/document/],
    };
    for (const [name, reasons] of Object.entries(wanted)) {
      const { code, result } = await system.case(join(requests, name));
      expect({ name, code, status: result.status }).toEqual({ name, code: 2, status: 'rejected' });
      expect(result.reasons).toEqual(reasons.map((reason) => expect.stringMatching(reason)));
      expect(result).toMatchObject({ findings: [], letters: [] });
    }
  });

  test('escalated 3 where a counterparty rejects the dispute', async () => {
    const { code, result } = await system.case(join(requests, 'rejecting-counterparty.json'));
    expect({ code, status: result.status }).toEqual({ code: 3, status: 'escalated' });
    expect(result.reasons).toEqual([expect.stringContaining('FitZone Gym')]);
    expect(result.letters).toHaveLength(4);
  });

  test('deadline passed 5 where one keeps silent; the case goes on without the command', async () => {
    const { code, result } = await system.case(join(requests, 'silent-counterparty.json'), '--deadline', '5s');
    expect({ code, status: result.status }).toEqual({ code: 5, status: 'tracking' });
    expect(result.letters).toHaveLength(4);
    expect(result.durationMs).toBeGreaterThanOrEqual(5_000);
    expect(await system.statusOf(result.workflowId)).toBe('tracking');
  });

  test('1 for a malformed request, with all its problems by path', async () => {
    const { code, result } = await system.case(join(requests, 'malformed.json'));
    expect(code).toBe(1);
    expect(result).toMatchObject({ workflowId: null, findings: [], letters: [], events: 0 });
    const paths = ['clientId', 'client.email', 'client.phone', 'documents[0].name', 'statement.period.from'];
    expect(result.reasons.map((reason) => reason.split(':')[0])).toEqual(paths);
  });

  test.each([
    ['1 for a file that is not there', 'none.json', undefined],
    ['1 for what is neither JSON nor CSV', 'noise.json', '{"accountId": "a", \n oops'],
    ['1 for an empty file', 'empty.json', ''],
    ['1 for a request of the wrong shape', 'shape.json', '[]'],
  ])('%s', async (_title, name, text) => {
    const file = text === undefined ? join(folder, name) : requestFile(folder, name, text);
    const { code, stdout, stderr } = await system.run(['case', file]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain(file);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});

test('events counts what was published on behalf of the case', async () => {
  const { result } = await system.case(join(samples, 'arithmetic.json'));
  const { events } = await system.get<{ events: { kind: string; entry: { published: unknown[] } }[] }>(
    `/api/workflows/${result.workflowId}/events`,
  );
  const published = events.flatMap(({ kind, entry }) => (kind === 'log' ? entry.published : []));
  expect(result.events).toBe(published.length);
});

test('without --json it tells the journey line by line, that a bare statement was dressed, and where the letters are', async () => {
  const { code, stdout, stderr } = await system.run(['case', join(samples, 'card-export.csv'), '--currency', 'USD']);
  expect(code).toBe(0);
  expect(stdout + stderr).toMatch(/bare statement.*client.*consent.*payment/);
  expect(stdout).toMatch(/^case WF-/m);
  for (const line of [
    /frontend +create → workflow\.initiate/,
    /admin +workflow\.complete → notify\.client/,
    /^closed after /m,
  ])
    expect(stdout).toMatch(line);
  expect(stdout.match(/^ {2}\/\S+\.pdf$/gm)).toHaveLength(2);
  expect(stdout).not.toContain('\u001b');
});

test('--currency is the currency of a CSV', async () => {
  const { result } = await system.case(join(samples, 'card-export.csv'), '--currency', 'USD');
  expect(new Set(result.findings.map(({ currency }) => currency))).toEqual(new Set(['USD']));
});

test.skipIf(spawnSync('script', ['--version']).error !== undefined)(
  'on a terminal one progress line is written over (skipped without script(1), which makes the terminal)',
  async () => {
    const program = Program.onTerminal(['case', join(samples, 'arithmetic.json'), '--data', system.data]);
    const { code, stdout } = await program.finished();
    expect(code).toBe(0);
    // Back to the line's beginning and clear it, then what happened last.
    expect(stdout.split('\r\u001b[K').filter((line) => /^[^\n]* events · /.test(line)).length).toBeGreaterThan(3);
    expect(stdout).toMatch(/closed/);
    // Painted, since it is a terminal; NO_COLOR takes the paint away.
    expect(stdout).toContain('\u001b[32m');
    const environment = { NO_COLOR: '1' };
    const plain = Program.onTerminal(['case', join(samples, 'arithmetic.json'), '--data', system.data], {
      environment,
    });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the very thing that must not be there
    expect((await plain.finished()).stdout).not.toMatch(/\u001b\[\d+m/);
  },
);

describe('through npm', () => {
  test('FILE is found from the folder the user typed in', async () => {
    const file = 'casework/samples/yen.json';
    const args = ['run', '--silent', 'case', '--', file, '--json', '--data', system.data];
    const { code, stdout, stderr } = await npm(args, { folder: join(root, 'apps') });
    expect(stderr).not.toContain('dormouse:');
    expect(code).toBe(0);
    expect(onlyJsonLine(stdout)).toMatchObject({ status: 'closed' });
  });

  test('FILE is found from a folder outside the project as well, by `npm --prefix`', async () => {
    requestFile(folder, 'mine.json', caseRequest());
    const args = ['--prefix', root, 'run', '--silent', 'case', '--', 'mine.json', '--json', '--data', 'beside'];
    const { code, stdout, stderr } = await npm(args, { folder });
    expect(stderr).not.toContain('dormouse:');
    expect(code).toBe(0);
    const { status, letters } = onlyJsonLine(stdout);
    expect(status).toBe('closed');
    expect(letters[0]).toContain(join(folder, 'beside'));
  });

  test('stdout holds npm’s own heading, which only `--silent` takes away, and one line of JSON', async () => {
    const { code, stdout } = await npm([
      'run',
      'case',
      '--',
      join(requests, 'unpaid.json'),
      '--json',
      '--data',
      system.data,
    ]);
    expect(code).toBe(2);
    expect(onlyJsonLine(stdout.replace(/^\n?(> .*\n)+\n?/, ''))).toMatchObject({ status: 'rejected' });
  });
});

describe('where no system runs', () => {
  test('one is started on free ports, without the sample, and stopped with all its processes; letters stay', async () => {
    const data = join(folder, 'for-the-purpose');
    const program = Program.npm(['run', '--silent', 'case', '--', join(samples, 'yen.json'), '--json', '--data', data]);
    onTestFinished(() => program.family.killAll());
    const { code, stdout } = await program.finished();
    expect(code).toBe(0);
    const result = onlyJsonLine(stdout);
    expect(result.status).toBe('closed');
    expect(result.letters).toHaveLength(3);
    for (const letter of result.letters) expect(existsSync(letter)).toBe(true);
    expect(program.family.members()).toEqual([]);
    expect(existsSync(join(data, 'host.json'))).toBe(false);

    const later = await RunningSystem.ofThisTest({ data });
    const { workflows } = await later.get<{ workflows: { id: string }[] }>('/api/workflows');
    expect(workflows.map(({ id }) => id)).toEqual([result.workflowId]);
  });

  test('Ctrl-C ends the command and the system it started, and says that the case goes on', async () => {
    const data = join(folder, 'interrupted');
    const program = Program.npm(['run', 'case', '--', join(requests, 'silent-counterparty.json'), '--data', data]);
    onTestFinished(() => program.family.killAll());
    await program.shows(/tracking +workflow\.track/);
    program.interrupt();
    const { code, stdout } = await program.finished();
    expect(code).toBe(1);
    expect(stdout).toContain('interrupted');
    expect(program.family.members()).toEqual([]);
  });

  test('two commands at once on one data directory both do their job', async () => {
    const data = join(folder, 'at-once');
    const runs = ['arithmetic.json', 'yen.json'].map((name) => {
      const program = Program.dormouse(['case', join(samples, name), '--json', '--data', data]);
      onTestFinished(() => program.family.killAll());
      return program.finished();
    });
    for (const { code, stdout, stderr } of await Promise.all(runs)) {
      expect({ code, stderr }).toMatchObject({ code: 0 });
      expect(onlyJsonLine(stdout, stderr)).toMatchObject({ status: 'closed' });
    }
  });

  test('a command outlives the system that another one had started', async () => {
    const bank = await StatementServer.start();
    onTestFinished(() => bank.close());
    const data = join(folder, 'outlived');
    const request = caseRequest({
      statement: { url: bank.on('/first.json', 'hold', JSON.stringify(smallStatement())) },
    });
    const first = Program.dormouse(['case', requestFile(folder, 'first.json', request), '--data', data]);
    onTestFinished(() => first.family.killAll());
    await until('the bank is asked', () => bank.asked('/first.json') === 1);
    const file = join(requests, 'silent-counterparty.json');
    const second = Program.dormouse(['case', file, '--json', '--deadline', '8s', '--data', data]);
    onTestFinished(() => second.family.killAll());
    await until('the second command uses the system of the first', async () => {
      const { port, token } = hostFile(data)!;
      const headers = { authorization: `Bearer ${token}` };
      const response = await fetch(`http://127.0.0.1:${port}/api/workflows`, { headers });
      return ((await response.json()) as { workflows: unknown[] }).workflows.length === 2;
    });
    bank.release('/first.json', JSON.stringify(smallStatement()));
    expect((await first.finished()).code).toBe(0);
    const { code, stdout, stderr } = await second.finished();
    expect({ code, stderr }).toEqual({ code: 5, stderr: '' });
    expect(onlyJsonLine(stdout)).toMatchObject({ status: 'tracking' });
  });

  test('a host.json that a dead system left is no system: one is started all the same', async () => {
    const killed = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
    killed.program.kill();
    await until('the killed system is gone', () => killed.program.family.members().length === 0);
    expect(existsSync(join(killed.data, 'host.json'))).toBe(true);
    const { code, result } = await killed.case(join(samples, 'clean.json'));
    expect({ code, status: result.status }).toEqual({ code: 0, status: 'closed' });
  });
});
