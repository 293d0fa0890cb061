// Real: a host that listens beyond loopback, asked from the outside address of this machine.

import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { dormouse, Program } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { SmallSystem } from './small-system.ts';
import { StatementServer } from './statement-server.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();

const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

describe('a host beyond loopback', () => {
  test('everything needs a token, the sandbox and the broker too; a case runs to its end', async () => {
    const system = await RunningSystem.ofThisTest({ args: ['--no-sample', '--host', '0.0.0.0'] });
    const house = { authorization: `Bearer ${system.host.token}` };
    const addresses = ['127.0.0.1', ...(outside === undefined ? [] : [outside])];
    for (const address of addresses) {
      const url = `http://${address}:${system.host.port}`;
      for (const path of ['/api/workflows', '/sandbox', '/sandbox/api/records']) {
        const told = async (headers = {}) => (await fetch(url + path, { headers })).status;
        expect({ address, path, statuses: [await told(), await told(house)] }).toEqual({
          address,
          path,
          statuses: [401, 200],
        });
      }
      const fault = { method: 'PUT', body: JSON.stringify({ target: 'sms', mode: 'hang' }) };
      expect((await fetch(`${url}/sandbox/faults`, fault)).status).toBe(401);
      expect((await fetch(`${url}/readyz`)).status).toBe(200);
    }
    const topics = `${system.brokerUrl}/v1/projects/dormouse/topics`;
    const refused = await fetch(topics);
    expect([refused.status, await refused.json()]).toMatchObject([
      401,
      { error: { code: 401, status: 'UNAUTHENTICATED' } },
    ]);
    expect((await fetch(topics, { headers: house })).status).toBe(200);
    const tenant = await system.run(['token', 'create', '--role', 'admin', '--tenant', 'acme']);
    const theirs = { authorization: `Bearer ${tenant.stdout.trim()}` };
    expect((await fetch(topics, { headers: theirs })).status).toBe(401);
    expect((await fetch(`${system.url}/sandbox`, { headers: theirs })).status).toBe(403);
    await system.reaches(await system.open(caseRequest()), 'closed');
  });

  test('a service that is no TypeScript finds a token for the broker, and the host’s own user’s is kept from it', async () => {
    const small = SmallSystem.in(
      folder,
      "teller: { command: ['node', 'teller.js'], subscriptions: [{ topic: noteTaken }] }",
    );
    // Answers what it is pushed by what the broker says to the token it found.
    small.write('teller.js', teller);
    const told = join(small.folder, 'told.json');
    const system = await RunningSystem.ofThisTest({
      args: [small.systemFile, '--host', '0.0.0.0'],
      environment: { TOLD_FILE: told, DORMOUSE_TOKEN: 'the user’s' },
    });
    expect((await system.fetch('/api/notes', { method: 'POST', body: 'hello' })).status).toBe(201);
    await until('the service has asked the broker', () => existsSync(told));
    expect(JSON.parse(readFileSync(told, 'utf8'))).toEqual({ with: 200, without: 401, users: null });
  });

  test('it answers to addresses and to the names it is given, and to no other', async () => {
    const system = await RunningSystem.ofThisTest({
      args: ['--no-sample', '--host', '0.0.0.0', '--names', 'dormouse.example,Cases.Example'],
    });
    const names = ['127.0.0.1', '192.0.2.7:80', '[2001:db8::1]', 'dormouse.example', 'cases.example:8080', 'localhost'];
    for (const name of names)
      expect({ name, status: await statusAs(name, system.host.port) }).toEqual({ name, status: 200 });
    for (const name of ['evil.example', 'dormouse.example.evil', '0.0.0.0.evil.example']) {
      expect({ name, status: await statusAs(name, system.host.port) }).toEqual({ name, status: 421 });
    }
  });

  test('a name of a proxy before it opens it as an address beyond loopback does', async () => {
    const system = await RunningSystem.ofThisTest({ args: ['--no-sample', '--names', 'dormouse.example'] });
    expect((await fetch(`${system.url}/sandbox`)).status).toBe(401);
    expect(await statusAs('192.0.2.7', system.host.port)).toBe(421);
  });

  test.each([
    ['--host', 'no such host!', /neither a host name nor an address/],
    ['--names', 'ok.example,b@d', /"b@d"/],
    ['--host', '192.0.2.77', /cannot listen there/],
  ])('%s %j is one clear line', async (option, value, message) => {
    const { code, stderr } = await dormouse(['start', option, value, '--no-sample', '--data', join(folder, 'data')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^dormouse: [^\n]+\n$/);
  });
});

test('a host that starts says that it is alive and not ready yet', async () => {
  const port = await freePort();
  const program = Program.dormouse([
    'start',
    '--no-sample',
    '--port',
    String(port),
    '--data',
    join(folder, 'starting'),
  ]);
  onTestFinished(() => program.family.killAll());
  const answers: number[] = [];
  await until('it is ready', async () => {
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    if (!ready) return false;
    answers.push(ready.status);
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
    return ready.ok;
  });
  expect(answers[0]).toBe(503);
});

test('a host says when it is ready and when it stops', async () => {
  const bank = await StatementServer.start();
  onTestFinished(() => bank.close());
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  expect(await (await fetch(`${system.url}/readyz`)).json()).toEqual({ status: 'ready' });
  // What is under way keeps it stopping for a while.
  await system.open(caseRequest({ statement: { url: bank.on('/never.json', 'hold') } }));
  await until('the bank is asked', () => bank.asked('/never.json') > 0);
  system.program.interrupt();
  let stopping: unknown;
  await until('the console is gone', async () => {
    const answer = await fetch(`${system.url}/readyz`).catch(() => 'gone' as const);
    if (answer === 'gone') return true;
    if (answer.status === 503) stopping = await answer.json();
    return false;
  });
  expect(stopping).toMatchObject({ status: 503, title: 'Service Unavailable', reasons: ['this host is stopping'] });
  expect((await system.program.finished()).code).toBe(0);
});

const teller = `import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
const { PORT, PUBSUB_EMULATOR_HOST, DORMOUSE_BROKER_TOKEN, DORMOUSE_TOKEN = null, TOLD_FILE } = process.env;
createServer(async (request, response) => {
  request.resume();
  const topics = 'http://' + PUBSUB_EMULATOR_HOST + '/v1/projects/dormouse/topics';
  const good = await fetch(topics, { headers: { authorization: 'Bearer ' + DORMOUSE_BROKER_TOKEN } });
  const bad = await fetch(topics);
  writeFileSync(TOLD_FILE + '~', JSON.stringify({ with: good.status, without: bad.status, users: DORMOUSE_TOKEN }));
  renameSync(TOLD_FILE + '~', TOLD_FILE);
  response.writeHead(204).end();
}).listen(Number(PORT), '127.0.0.1');
`;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** `fetch` does not let one choose the Host header. */
function statusAs(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path: '/healthz', headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    })
      .on('error', reject)
      .end();
  });
}
