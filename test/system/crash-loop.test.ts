// Real: processes that do not start, of a service and of a foreign command, and what a user sees of them meanwhile.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { dormouse } from './program.ts';
import { RunningSystem } from './running-system.ts';
import { SmallSystem, take } from './small-system.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

const folder = temporaryFolder();

/** How a service may fail to start while a file is there, and what is told of it. */
const ways = {
  'throws when it is imported': {
    before: `if (existsSync(process.env.BROKEN!)) throw new Error('no setting COLOUR');`,
    reason: 'exit 1 before it listened',
    output: 'Error: no setting COLOUR',
  },
  exits: {
    before: `if (existsSync(process.env.BROKEN!)) { console.log('I have had enough'); process.exit(7); }`,
    reason: 'exit 7 before it listened',
    output: 'I have had enough',
  },
  'is killed': {
    before: `if (existsSync(process.env.BROKEN!)) { console.error('out of memory'); process.kill(process.pid, 'SIGKILL'); }`,
    reason: 'killed by SIGKILL before it listened',
    output: 'out of memory',
  },
};

async function failing(system: RunningSystem, name: string, times: number) {
  return until(`${name} has failed ${times} times`, async () => {
    const status = (await system.services()).find((service) => service.name === name);
    return status?.state === 'failing' && status.failing!.failures >= times && status.failing;
  });
}

for (const [way, { before, reason, output }] of Object.entries(ways)) {
  test(`a service that ${way}: shown as failing with its last output, its messages wait, and all are worked off once it starts`, async () => {
    const small = SmallSystem.in(folder, "scribe: './scribe.ts'");
    small.service(
      'scribe',
      '(await step.workflow(note)).update({ seen: text });',
      `import { existsSync } from 'node:fs';\n${before}`,
    );
    const broken = join(small.folder, 'broken');
    const system = await RunningSystem.ofThisTest({ args: [small.systemFile], environment: { BROKEN: broken } });
    writeFileSync(broken, '');
    const ids = [await take(system, 'one'), await take(system, 'two')];
    const failure = await failing(system, 'scribe', 3);
    expect(failure).toMatchObject({ reason, output: expect.stringContaining(output) });
    // It waits longer each time.
    expect(failure.retryAt! - failure.since).toBeGreaterThan(500 + 1_000);
    ids.push(await take(system, 'three'));

    const [row] = await system.trace(ids[0]!);
    expect(row).toMatchObject({ to: 'scribe', status: 'published', attempts: 0, errors: [] });
    expect(row!.failing).toMatchObject({ reason });
    for (const command of [['services'], ['trace', ids[2]!]]) {
      const { stdout } = await system.run(command);
      expect(stdout).toMatch(
        new RegExp(`scribe is failing: \\d+ times since .*${reason}.*\\n(.*\\n)*.*\\| .*${output}`),
      );
    }

    rmSync(broken);
    for (const id of ids) {
      await until(`${id} is seen`, async () => (await system.get<{ seen?: string }>(`/api/workflows/${id}`)).seen);
      expect((await system.trace(id))[0]).toMatchObject({ status: 'done', attempts: 1, errors: [] });
    }
    const scribe = async () => (await system.services()).find(({ name }) => name === 'scribe')!;
    // A note is seen when its step commits, a moment before its push is acked.
    await until('its push is acked', async () => !('failing' in (await scribe())));
    expect(await scribe()).not.toHaveProperty('failing');
    const { stderr } = await system.stop();
    const lines = stripVTControlCharacters(stderr).trim().split('\n');
    expect(lines, 'one line when it fails first, one when it works again').toHaveLength(2);
    expect(lines[0]).toMatch(new RegExp(`^dormouse: scribe is failing: ${reason}.* logs scribe$`));
    expect(lines[1]).toBe('dormouse: scribe works again');
    expect(system.program.family.members()).toEqual([]);
  });
}

test('a foreign command that does not start is shown the same way; repaired, it takes all that waited', async () => {
  const small = SmallSystem.in(
    folder,
    "plain: { command: ['node', 'plain.js'], subscriptions: [{ topic: noteTaken }] }",
  );
  const taken = join(small.folder, 'taken.txt');
  const good = `import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { message } = JSON.parse(Buffer.concat(chunks).toString());
  appendFileSync('taken.txt', JSON.parse(Buffer.from(message.data, 'base64').toString()).text + '\\n');
  response.writeHead(204).end();
}).listen(Number(process.env.PORT), '127.0.0.1');
console.log('plain is ready');
`;
  small.write('plain.js', 'const = 1;');
  const system = await RunningSystem.ofThisTest({ args: [small.systemFile] });
  await take(system, 'one');
  await take(system, 'two');
  const failure = await failing(system, 'plain', 2);
  expect(failure).toMatchObject({ reason: 'exit 1 before it listened' });
  expect(failure.output).toMatch(/plain\.js:1\n(.*\n)*SyntaxError/);
  small.write('plain.js', good);
  const lines = () => (existsSync(taken) ? readFileSync(taken, 'utf8').trim().split('\n') : []);
  await until('all that waited is taken', () => lines().length === 2);
  expect(lines().toSorted()).toEqual(['one', 'two']);
  expect((await system.run(['logs', 'plain'])).stdout).toMatch(/plain\[\d+\] \| plain is ready/);
  expect((await system.stop()).code).toBe(0);
  expect(system.program.family.members()).toEqual([]);
});

test('a source that does not build keeps the whole system from starting, and the error says where it is', async () => {
  const small = SmallSystem.in(folder, "scribe: './scribe.ts'");
  small.write('scribe.ts', 'const fine = 1;\nconst = 2;\n');
  const { code, stdout, stderr } = await dormouse(['start', small.systemFile, '--data', join(small.folder, 'data')]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^dormouse: the system \S+system\.ts does not build:\n\S*scribe\.ts:2\n/);
  expect(stderr).not.toMatch(/\n\s+at |node:internal/);

  small.write('scribe.ts', '');
  const empty = await dormouse(['start', small.systemFile, '--data', join(small.folder, 'data')]);
  expect(empty.stderr).toContain("./scribe.ts exports no service; write `export default service('scribe', […])`");
});
