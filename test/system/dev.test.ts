// Real: a system under development, its sources edited on disk as an editor does it, its processes and its output.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { kill } from './process-family.ts';
import { Program, root } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { SmallSystem, take } from './small-system.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();
const seenBy = (version: string) => `(await step.workflow(note)).update({ seen: '${version} ' + text });`;

interface Development {
  readonly small: SmallSystem;
  readonly system: RunningSystem;
}

async function develop(services = "scribe: './scribe.ts'", ...args: string[]): Promise<Development> {
  const small = SmallSystem.in(folder, services);
  small.service('scribe', seenBy('v1'));
  const system = await RunningSystem.ofThisTest({
    command: 'dev',
    args: [small.systemFile, '--idle', '60s', ...args],
    folder: small.folder,
  });
  await system.program.shows(/Ctrl-C/);
  return { small, system };
}

function seen(system: RunningSystem, id: string): Promise<string> {
  return until(`${id} is seen`, async () => (await system.get<{ seen?: string }>(`/api/workflows/${id}`)).seen);
}

test('a changed source: the instance that runs it goes, and the next message is served by the new code', async () => {
  const { small, system } = await develop();
  expect(await seen(system, await take(system, 'one'))).toBe('v1 one');
  const [old] = system.program.family.find('scribe.mjs');
  small.service('scribe', seenBy('v2'));
  await system.program.shows(/scribe\.ts changed; new code of scribe in /);
  await until('the old process is gone', () => !system.program.family.members().some(({ pid }) => pid === old!.pid));
  expect((await system.services())[0]).toMatchObject({ state: 'asleep', lastExit: { reason: 'retired' } });
  expect(await seen(system, await take(system, 'two'))).toBe('v2 two');

  // As editors save: beside it, then renamed.
  small.service('scribe-new', seenBy('v3'));
  const text = readFileSync(join(small.folder, 'scribe-new.ts'), 'utf8').replace("'scribe-new'", "'scribe'");
  writeFileSync(join(small.folder, '.scribe.ts.swp'), text);
  renameSync(join(small.folder, '.scribe.ts.swp'), join(small.folder, 'scribe.ts'));
  await until('the newest code serves', async () => (await seen(system, await take(system, 'x'))) === 'v3 x');
  const { code, stderr } = await system.stop();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(system.program.family.members()).toEqual([]);
  expect(existsSync(join(system.data, 'build', 'dev'))).toBe(false);
});

test('messages that come while sources change by the dozen: each is handled once, none is lost', async () => {
  const { small, system } = await develop();
  const ids: string[] = [];
  for (let change = 1; change <= 6; change++) {
    small.service('scribe', seenBy(`c${change}`));
    for (let count = 0; count < 10; count++) ids.push(await take(system, `${change}`));
  }
  for (const id of ids) {
    await seen(system, id);
    const [row] = await system.trace(id);
    expect(row).toMatchObject({ status: 'done', attempts: 1, errors: [] });
  }
  await until('the last code serves', async () => (await seen(system, await take(system, 'x'))) === 'c6 x');
});

test('a source that does not build is told with its place, its messages wait and are handled once it does; others go on', async () => {
  const { small, system } = await develop();
  small.service(
    'other',
    "(await step.document(collection('others'), 'o')).create({ text });",
    "import { collection } from '@dormouse/core';",
  );
  small.declare("scribe: './scribe.ts', other: './other.ts'");
  await system.program.shows(/system\.ts changed; the host restarts/);
  await until('the other service is there', async () => (await system.services().catch(() => [])).length === 2);
  await seen(system, await take(system, 'before'));

  small.write('scribe.ts', 'const broken =\n  = 3;\n');
  await system.program.shows(/does not build:(?:.|\n)*scribe\.ts:2\n(?:.|\n)*messages of scribe wait/);
  expect(system.program.stdout).not.toContain('node:internal');
  const id = await take(system, 'meanwhile');
  await until('the other service has handled it', async () =>
    (await system.trace(id)).some(({ to, status }) => to === 'other' && status === 'done'),
  );
  const row = (await system.trace(id)).find(({ to }) => to === 'scribe')!;
  expect(row).toMatchObject({ status: 'published', attempts: 0 });
  expect(row.failing).toMatchObject({
    reason: 'its source does not build',
    output: expect.stringContaining('scribe.ts:2'),
  });
  expect((await system.run(['services'])).stdout).toContain('scribe is failing: its source does not build');

  small.service('scribe', seenBy('repaired'));
  expect(await seen(system, id)).toBe('repaired meanwhile');
  expect((await system.trace(id)).every(({ status }) => status === 'done')).toBe(true);
});

test('what the system declares and its commands change: the host restarts in place, on the same address', async () => {
  const { small, system } = await develop();
  const { port, token } = system.host;
  small.write('double.js', plain);
  small.declare(
    "scribe: './scribe.ts', plain: { command: ['node', 'double.js'], subscriptions: [{ topic: noteTaken }] }",
  );
  await until('the new service is there', async () => (await system.services().catch(() => [])).length === 2);
  const taken = () =>
    existsSync(join(small.folder, 'taken.txt')) ? readFileSync(join(small.folder, 'taken.txt'), 'utf8') : '';
  await seen(system, await take(system, 'one'));
  await until('both have it', () => taken() === 'first one\n');

  small.write('double.js', plain.replace('first', 'second'));
  await system.program.shows(/double\.js changed; new code of plain/);
  await take(system, 'two');
  await until('the foreign command is new', () => taken() === 'first one\nsecond two\n');

  const commands = readFileSync(join(small.folder, 'commands.ts'), 'utf8');
  small.write('commands.ts', commands.replace('parse: ({ body }) => body', 'parse: ({ body }) => body.toUpperCase()'));
  await system.program.shows(/commands\.ts changed; the host restarts/);
  const loud = await until('the new command answers', () =>
    take(system, 'three').then(
      async (id) => (await seen(system, id)) === 'v1 THREE' && id,
      () => undefined,
    ),
  );
  expect(loud).toMatch(/^NO-/);
  // The same port and token all the while.
  expect(system.host).toMatchObject({ port, token });
  expect((await system.stop()).code).toBe(0);
  expect(system.program.family.members()).toEqual([]);
});

test('what a handler prints is shown, and what fails with its place in the source, when it runs and when it is imported', async () => {
  const { small, system } = await develop();
  small.service('scribe', "console.log('reads ' + text);\n\n    throw new Error('cannot read');");
  await system.program.shows(/new code of scribe/);
  await take(system, 'one');
  await system.program.shows(/scribe \| reads one/);
  await system.program.shows(
    /scribe: attempt 1 at scribe\.note\.taken failed: cannot read · given up[^\n]*\n {4}at \S*.*scribe\.ts:8:11/,
  );

  small.service('scribe', seenBy('v2'), "if (process.env.DORMOUSE_INSTANCE) throw new Error('not today');");
  await until('it is the new code', () => /new code of scribe(?:.|\n)*new code of scribe/.test(system.program.stdout));
  const id = await take(system, 'two');
  await system.program.shows(
    /scribe \|.*scribe\.ts:3(?:.|\n)*not today(?:.|\n)*scribe is failing: exit 1 before it listened/,
  );
  small.service('scribe', seenBy('v3'));
  expect(await seen(system, id)).toBe('v3 two');
});

test('wrong types are told with their place, and that they are right again', async () => {
  const small = SmallSystem.in(folder, "scribe: './scribe.ts'");
  small.service('scribe', seenBy('v1'));
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'));
  small.write('tsconfig.json', JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  const args = [small.systemFile];
  const system = await RunningSystem.ofThisTest({ command: 'dev', args, folder: small.folder });
  small.service('scribe', `${seenBy('v2')}\n  const count: number = text;`);
  await system.program.shows(/types: scribe\.ts:7:9 error TS2322: Type 'string' is not assignable to type 'number'/);
  // They stop nobody.
  expect(await seen(system, await take(system, 'one'))).toBe('v2 one');
  small.service('scribe', seenBy('v3'));
  await system.program.shows(/types are right/);
});

test('a system that does not build from the start is told, and comes up once it does', async () => {
  const small = SmallSystem.in(folder, "scribe: './scribe.ts'");
  small.write('scribe.ts', 'const = 1;');
  const data = join(small.folder, 'data');
  const program = Program.dormouse(['dev', small.systemFile, '--data', data], { folder: small.folder });
  onTestFinished(() => program.family.killAll());
  await program.shows(/does not build:(?:.|\n)*scribe\.ts:1\n(?:.|\n)*nothing runs yet/);
  small.service('scribe', seenBy('v1'));
  await program.shows(/up in(?:.|\n)*Ctrl-C/);
  program.interrupt();
  expect((await program.finished()).code).toBe(0);
  expect(program.family.members()).toEqual([]);
});

test('npm run dev develops the system of the project, shows its sample, and Ctrl-C ends all of it', async () => {
  const system = await RunningSystem.ofThisTest({ command: 'dev', npm: true });
  await system.program.shows(/^sample WF-/m);
  await system.program.shows(/Ctrl-C/);
  expect((await system.stop()).code).toBe(0);
  expect(system.program.family.members()).toEqual([]);
});

test('however dev ends, nothing of it stays', async () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const { system } = await develop();
    await seen(system, await take(system, 'one'));
    kill(system.program.pid, signal);
    await until(`all processes are gone after ${signal}`, () => system.program.family.members().length === 0);
  }
});

test('a data directory in use is a clear error', async () => {
  const { small, system } = await develop();
  const { code, stderr } = await Program.dormouse(['dev', small.systemFile, '--data', system.data]).finished();
  expect(code).toBe(1);
  expect(stderr).toMatch(/^dormouse: [^\n]+ in use [^\n]+\n$/);
});

const plain = `import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { message } = JSON.parse(Buffer.concat(chunks).toString());
  appendFileSync('taken.txt', 'first ' + JSON.parse(Buffer.from(message.data, 'base64').toString()).text + '\\n');
  response.writeHead(204).end();
}).listen(Number(process.env.PORT), '127.0.0.1');
`;
