// Real: npm, its process group, the host and its services. What a user sees of `npm start`, from the first line to Ctrl-C.
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { dormouse, Program, root, samples } from './program.ts';
import { hostFile, RunningSystem } from './running-system.ts';
import { StatementServer } from './statement-server.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
let bank: StatementServer;
beforeAll(async () => {
  bank = await StatementServer.start();
});
afterAll(() => bank.close());

test('npm start opens the sample case, shows its timeline until it is closed, and stays up; Ctrl-C ends it with 0', async () => {
  const system = await RunningSystem.ofThisTest({ npm: true });
  const { program, host } = system;
  const [, workflowId] = await program.shows(/^sample (WF-\S+)$/m);
  await program.shows(/^ {2}\d\d:\d\d:\d\d frontend +create → workflow\.initiate/m);
  await program.shows(/^ {2}closed/m);
  await program.shows(/Ctrl-C/);

  // In order: who acted, what came, what left.
  const journey = ['workflow.initiate', 'data.fetch', 'data.analyze', 'document.generate', 'document.submit'];
  const later = ['workflow.track', 'response.received', 'compliance.review', 'workflow.complete'];
  const places = [...journey, ...later].map((topic) => program.stdout.indexOf(` ${topic} `));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(places).not.toContain(-1);
  expect(await system.statusOf(workflowId!)).toBe('closed');

  expect(program.stdout).toContain(system.url);
  expect(program.stdout).toContain(`${system.url}/sandbox`);
  expect(program.stdout).toContain(host.token);
  expect(program.stdout).not.toContain('\u001b');
  const pids = program.family.members().map(({ pid }) => pid);
  expect(pids).toContain(host.pid);

  const { code, signal } = await system.stop();
  expect({ code, signal }).toEqual({ code: 0, signal: null });
  expect(program.family.members()).toEqual([]);
  expect(hostFile(system.data)).toBeUndefined();
});

test('only a new data directory gets the sample, and --no-sample gives it to none', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  await system.program.shows(/Ctrl-C/);
  expect(system.program.stdout).not.toContain('sample WF-');
  expect(await system.get('/api/workflows')).toEqual({ workflows: [] });
  await system.stop();

  const again = await RunningSystem.ofThisTest({ data: system.data });
  await again.program.shows(/Ctrl-C/);
  expect(again.program.stdout).not.toContain('sample WF-');
});

test('host.json says pid, port, broker and token, to its owner only; /healthz needs no token', async () => {
  const port = await freePort();
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample', '--port', String(port)] });
  expect(hostFile(system.data)).toEqual({
    pid: system.program.pid,
    port,
    url: system.url,
    brokerUrl: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    token: expect.stringMatching(/^\S{20,}$/),
  });
  expect(statSync(join(system.data, 'host.json')).mode & 0o777).toBe(0o600);
  // Whatever else is kept there is nobody else's to read either.
  expect(statSync(system.data).mode & 0o077).toBe(0);
  const health = await fetch(`http://127.0.0.1:${port}/healthz`);
  expect(health.status).toBe(200);
});

test('without --data the data directory is .dormouse in the project', async () => {
  const project = join(folder, 'project');
  const below = join(project, 'deep', 'below');
  mkdirSync(below, { recursive: true });
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ dormouse: { system: join(root, 'apps/orders/system.ts') } }),
  );
  const program = Program.dormouse(['start', '--no-sample'], { folder: below });
  onTestFinished(() => program.family.killAll());
  await program.shows(/Ctrl-C/);
  expect(hostFile(join(project, '.dormouse'))?.pid).toBe(program.pid);
  program.interrupt();
  expect((await program.finished()).code).toBe(0);
});

test('Ctrl-C stops also while a service waits for an answer from outside that never comes', async () => {
  const url = bank.on('/never.json', 'hold');
  const system = await RunningSystem.ofThisTest({ npm: true, args: ['--no-sample'] });
  await system.open(caseRequest({ statement: { url } }));
  await until('the bank is asked', () => bank.asked('/never.json') > 0);
  const { code } = await system.stop();
  expect(code).toBe(0);
  expect(system.program.family.members()).toEqual([]);
});

test('two SIGINTs within 500 ms count as one', async () => {
  const url = bank.on('/twice-interrupted.json', 'hold');
  const system = await RunningSystem.ofThisTest({ npm: true, args: ['--no-sample'] });
  await system.open(caseRequest({ statement: { url } }));
  await until('the bank is asked', () => bank.asked('/twice-interrupted.json') > 0);
  system.program.interrupt();
  // Time is what this is about: two signals at once would be one to the kernel.
  await new Promise((resolve) => setTimeout(resolve, 100));
  const { code, stderr } = await system.stop();
  expect(code).toBe(0);
  expect(stderr).not.toContain('forced');
  expect(system.program.family.members()).toEqual([]);
});

test('a later SIGINT forces: it ends at once, and nothing is left behind', async () => {
  const url = bank.on('/forced.json', 'hold');
  const system = await RunningSystem.ofThisTest({ npm: true, args: ['--no-sample'] });
  await system.open(caseRequest({ statement: { url } }));
  await until('the bank is asked', () => bank.asked('/forced.json') > 0);
  system.program.interrupt();
  // Time is what this is about: only after 500 ms it is another Ctrl-C.
  await new Promise((resolve) => setTimeout(resolve, 800));
  const { code } = await system.stop();
  expect(code).not.toBe(0);
  await until('no process is left', () => system.program.family.members().length === 0);
});

test('Ctrl-C while it starts is a clean stop too', async () => {
  const program = Program.npm(['start', '--', '--data', join(folder, 'early')]);
  onTestFinished(() => program.family.killAll());
  await until('the services are being bundled', () => program.family.find('bundle.ts')[0]);
  program.interrupt();
  const { code, stderr } = await program.finished();
  expect(code).toBe(0);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(program.family.members()).toEqual([]);
});

test('SIGTERM to the host is a clean stop as well', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  process.kill(system.host.pid, 'SIGTERM');
  expect((await system.program.finished()).code).toBe(0);
  expect(system.program.family.members()).toEqual([]);
});

test('a port in use is a clear error', async () => {
  const port = await freePort();
  const other = createServer().listen(port, '127.0.0.1');
  onTestFinished(() => void other.close());
  const { code, stdout, stderr } = await dormouse(['start', '--data', join(folder, 'port'), '--port', String(port)]);
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(oneLine);
  expect(stderr).toContain(`port ${port}`);
  expect(hostFile(join(folder, 'port'))).toBeUndefined();
});

test('a data directory in use is a clear error that names the pid, and who uses it goes on', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const { code, stdout, stderr } = await system.run(['start']);
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(oneLine);
  expect(stderr).toContain(`pid ${system.host.pid}`);
  expect(hostFile(system.data)).toEqual(system.host);
  expect((await system.fetch('/healthz')).status).toBe(200);
});

test('a data directory that cannot be written is a clear error, for start and case', async () => {
  writeFileSync(join(folder, 'file'), 'in its place');
  for (const data of [join(folder, 'file'), join(folder, 'file', 'below'), '/proc/dormouse']) {
    for (const command of [['start'], ['case', join(samples, 'clean.json')]]) {
      const { code, stdout, stderr } = await Program.dormouse([...command, '--data', data]).finished();
      expect({ data, code }).toEqual({ data, code: 1 });
      expect(stdout).toBe('');
      expect(stderr.replace(/^a bare statement.*\n/, '')).toMatch(oneLine);
      expect(stderr).toContain(data);
    }
  }
  expect(existsSync('/proc/dormouse')).toBe(false);
});

/** What went wrong and what to do, without a stack. */
const oneLine = /^dormouse: [^\n]+\n$/;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
