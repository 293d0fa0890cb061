// Real: a running host and its services, and what they leave in files.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { caseRequest } from './case-request.ts';
import { dormouse, Program } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { SmallSystem, take as takeOn } from './small-system.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
const secrets = {
  password: 'correct-horse-battery',
  email: 'ada.lovelace@mail.example',
  phone: '+12025550147',
};
let small: SmallSystem;
let system: RunningSystem;
beforeAll(async () => {
  small = SmallSystem.in(folder, "scribe: './scribe.ts'");
  small.service(
    'scribe',
    `console.log('takes ' + text);
     if (text === 'many') for (let count = 1; count <= 1000; count++) console.log('line ' + count);
     if (text === 'endless') process.stdout.write(('x'.repeat(100) + '\\n').repeat(100_000));
     if (text === 'careless') {
       console.log(JSON.stringify(process.env));
       console.error({ to: '${secrets.email}', phone: '${secrets.phone}' });
       throw new Error('550 <${secrets.email}> unknown at ' + process.env.NOTES_SMTP_URL + ', no SMS to ${secrets.phone}');
     }
     if (text === 'wrong') throw new Error('cannot take this');`,
  );
  system = await RunningSystem.start({
    args: [small.systemFile],
    environment: { NOTES_SMTP_URL: `smtp://scribe:${secrets.password}@mail.example:25` },
  });
});
afterAll(() => system?.destroy());

function take(text: string): Promise<string> {
  return takeOn(system, text);
}

async function handled(id: string): Promise<string> {
  return until(`${id} is handled`, async () => {
    const [row] = await system.trace(id);
    return row && row.status !== 'published' && row.status;
  });
}

/** The records of scribe, once such are among them: what a step did is seen before its process has told so. */
function said(...moments: string[]): Promise<Record<string, unknown>[]> {
  return until(`${moments.join(', ')} in the log`, async () => {
    const records = await logs('scribe');
    return moments.every((moment) => records.some((record) => record.moment === moment)) && records;
  });
}

async function logs(...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await system.run(['logs', '--json', ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

test('what a service prints, what it did and what failed is in one log: with service, pid, level, workflow and event', async () => {
  const well = await take('plain words');
  const badly = await take('wrong');
  expect([await handled(well), await handled(badly)]).toEqual(['done', 'dead-lettered']);
  const records = await said('service.said', 'step.committed', 'attempt.failed');
  expect(new Set(records.map(({ service }) => service))).toEqual(new Set(['scribe']));
  const pid = records.find(({ moment }) => moment === 'instance.woken')!.pid;
  expect(records).toContainEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    service: 'scribe',
    pid,
    moment: 'service.said',
    line: 'takes plain words',
  });
  expect(records).toContainEqual(
    expect.objectContaining({
      ...{ level: 'info', pid, moment: 'step.committed', workflow: `workflows/${well}`, attempt: 1 },
      event: expect.any(String),
    }),
  );
  expect(records).toContainEqual(
    expect.objectContaining({
      ...{ level: 'warn', pid, moment: 'attempt.failed', workflow: `workflows/${badly}`, cause: 'cannot take this' },
      event: expect.any(String),
    }),
  );
});

test('logs can be narrowed: to a service, a level, a time, a number', async () => {
  await handled(await take('wrong'));
  expect((await logs('host')).map(({ moment }) => moment)).toContain('host.started');
  expect(new Set((await logs('--level', 'warn')).map(({ level }) => level))).toEqual(new Set(['warn']));
  expect(await logs('--since', '0s')).toEqual([]);
  expect((await logs('--since', '1h')).length).toBeGreaterThan(3);
  expect(await logs('--lines', '2')).toHaveLength(2);
});

test('a thousand lines at once all arrive, in order', async () => {
  await handled(await take('many'));
  const lines = await until('the last of them', async () => {
    const lines = (await logs('scribe', '--since', '1h')).map(({ line }) => String(line));
    return lines.includes('line 1000') && lines.filter((line) => /^line /.test(line));
  });
  expect(lines).toEqual(Array.from({ length: 1000 }, (_, index) => `line ${index + 1}`));
});

test('what shouts without end is dropped and counted; what others said stays', async () => {
  const id = await take('endless');
  await handled(id);
  const muted = await until('it is counted', async () =>
    (await logs('scribe', '--since', '1h')).find(({ moment }) => moment === 'service.muted'),
  );
  expect(muted).toMatchObject({ level: 'warn', lines: expect.any(Number) });
  expect(statSync(join(system.data, 'host.log')).size).toBeLessThan(5_000_000);
  expect((await logs('host', '--since', '1h')).map(({ moment }) => moment)).toContain('host.started');
});

test('as text each line says when, who and what', async () => {
  await handled(await take('plain words'));
  await said('step.committed');
  const { stdout } = await system.run(['logs', 'scribe']);
  expect(stdout).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} scribe\[\d+\] \| takes plain words$/m);
  expect(stdout).toMatch(
    / scribe\[\d+\] info step\.committed subscription=scribe\.note\.taken event=\S+ workflow=workflows\/NO-/,
  );
});

test('--follow shows what comes, until Ctrl-C', async () => {
  const following = Program.dormouse(['logs', 'scribe', '--follow', '--lines', '0', '--data', system.data]);
  onTestFinished(() => following.family.killAll());
  await until('it follows', async () => {
    await handled(await take('news'));
    return following.stdout.includes('takes news');
  });
  following.interrupt();
  const { code, stderr } = await following.finished();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

test('what is asked for wrongly is a clear error', async () => {
  const unknown = await system.run(['logs', 'scrib']);
  expect(unknown).toMatchObject({ code: 1, stdout: '' });
  expect(unknown.stderr).toBe('dormouse: logs: there is no service "scrib"; there are host, scribe\n');
  for (const [option, value] of [
    ['--level', 'loud'],
    ['--since', 'yesterday'],
    ['--lines', 'all'],
  ] as const) {
    const { code, stderr } = await system.run(['logs', option, value]);
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^dormouse: [^\\n]*${option}[^\\n]*"${value}"[^\\n]*\\n$`));
  }
  const none = await dormouse(['logs', '--data', join(folder, 'nothing')]);
  expect(none.stderr).toMatch(/^dormouse: there is no log in \S+nothing; [^\n]+\n$/);
});

test('secrets and contact data that a careless handler prints and throws are nowhere to be read', async () => {
  const id = await take('careless');
  await handled(id);
  await until('its output is in the log', async () =>
    (await logs('scribe')).some(({ line }) => String(line).includes('PATH')),
  );
  const told = await everythingTold(system, id);
  expect(told).toContain('550 <[email]> unknown at smtp://[redacted]@mail.example:25, no SMS to [phone]');
  for (const secret of Object.values(secrets)) expect(told).not.toContain(secret);
  expect(told).not.toContain(system.host.token);
});

test('the logs can be read when the host is gone, and start told in one line what a person should see', async () => {
  const { stderr } = await system.stop();
  expect(stderr.split('\n').find((line) => line.includes('cannot take this'))).toBe(
    'dormouse: scribe gave up an event of scribe.note.taken: cannot take this · npm run dormouse -- dead-letters',
  );
  const records = await logs();
  expect(records.at(-1)).toMatchObject({ service: 'host', moment: 'host.stopped' });
  expect((await system.run(['logs', 'scrib'])).stderr).toContain('there are host, scribe');
});

test('a whole case leaves neither secrets nor the contact data of its client in logs, traces and answers', async () => {
  const casework = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const client = { name: 'Augusta Ada Byron-King', email: 'augusta@ockham.example', phone: '+442075550199' };
  const id = await casework.open(caseRequest({ client }));
  await casework.reaches(id, 'closed');
  await until('the client was told', async () => (await casework.records(id)).counts.mail.effects === 3);
  const wrong = { ...caseRequest({ client }), clientId: client.email, documents: 7 };
  const file = join(folder, 'wrong.json');
  writeFileSync(file, JSON.stringify(wrong));
  const refused = await casework.run(['case', file]);
  expect(refused.code).toBe(1);
  const told = (await everythingTold(casework, id, JSON.stringify(wrong))) + refused.stdout + refused.stderr;
  for (const value of Object.values(client)) expect(told).not.toContain(value);
  expect(told).not.toContain(casework.host.token);
  for (const name of ['admin-token', 'webhook-secret', 'push-key.json']) {
    const secret = readFileSync(join(casework.data, name), 'utf8').trim();
    expect(told).not.toContain(secret);
    // And no key of the private one.
    const key = /"d":"([^"]+)"/.exec(secret)?.[1];
    if (key) expect(told).not.toContain(key);
  }
  expect(told).not.toMatch(/\beyJ[\w-]+\.[\w-]+\.[\w-]+/);
});

/** All that a system writes and answers about itself and a workflow: files of its log, output, commands, refusals. */
async function everythingTold(of: RunningSystem, workflowId: string, body = '{"broken'): Promise<string> {
  const files = readdirSync(of.data).filter((name) => name.startsWith('host.log'));
  const commands = [
    ['trace', workflowId, '--payloads'],
    ['trace', workflowId, '--json', '--payloads'],
    ['services'],
    ['topics'],
  ];
  const printed = await Promise.all(
    [...commands, ['dead-letters'], ['dead-letters', '--json'], ['logs', '--since', '1h']].map((args) => of.run(args)),
  );
  const answers = await Promise.all(
    [
      of.fetch(`/api/workflows/${workflowId}/events`),
      of.fetch('/api/workflows/create', { method: 'POST', body }),
      of.fetch('/api/workflows/WF-20250101-AAAAAA/trace'),
      of.fetch('/api/responses', { method: 'POST', body }),
      fetch(`${of.url}/api/workflows`, { headers: { authorization: `Bearer ${of.host.token}x` } }),
    ].map(async (answer) => (await answer).text()),
  );
  const output = of.program.stdout.replace(/^ +token .*$/m, '') + of.program.stderr;
  return stripVTControlCharacters(
    [
      ...files.map((name) => readFileSync(join(of.data, name), 'utf8')),
      ...printed.map(({ stdout, stderr }) => stdout + stderr),
      ...answers,
      output,
    ].join('\n'),
  );
}
