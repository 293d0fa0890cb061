// Real: `dormouse …` as a process, without a running system.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { requestFile, smallStatement } from './case-request.ts';
import { dormouse, npm, root, samples } from './program.ts';
import { onlyJsonLine } from './running-system.ts';
import { temporaryFolder } from './temporary-folder.ts';

const commands = [
  'start',
  'case',
  'cases',
  'trace',
  'services',
  'topics',
  'token',
  'validate',
  'version',
  'broker',
  'backup',
  'restore',
  'doctor',
  'reset',
  'verify',
];
const folder = temporaryFolder();

describe.concurrent('help and version', () => {
  test('--help lists every command', async () => {
    const { code, stdout, stderr } = await dormouse(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  });

  test.each(commands)('%s --help tells its usage and options', async (command) => {
    const { code, stdout, stderr } = await dormouse([command, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Usage: dormouse ${command}`));
    const options = {
      start: ['data', 'port', 'no-sample', 'idle', 'inline'],
      case: ['data', 'json', 'deadline', 'currency'],
    };
    for (const option of options[command as keyof typeof options] ?? []) expect(stdout).toContain(`--${option}`);
  });

  test('version is that of the package, also as --version and through npm', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'packages/cli/package.json'), 'utf8'));
    for (const finished of [
      dormouse(['version']),
      dormouse(['--version']),
      npm(['run', '--silent', 'dormouse', '--', 'version']),
    ]) {
      const { code, stdout } = await finished;
      expect(code).toBe(0);
      expect(stdout).toMatch(new RegExp(`^dormouse ${version.replaceAll('.', '\\.')} \\(node 26\\.`));
    }
  });
});

describe.concurrent('what is mistyped is one clear line and exit 1', () => {
  test.each([
    ['an unknown command', ['trcae'], /unknown command "trcae"/],
    ['an unknown option', ['cases', '--limt', '3'], /--limt/],
    ['an option of another command', ['version', '--json'], /--json/],
    ['a value that is missing', ['start', '--data'], /--data/],
    ['no FILE', ['case'], /FILE/],
    ['no FILE to validate', ['validate'], /FILE/],
    ['no id to trace', ['trace'], /id of a workflow/],
    ['no port', ['start', '--port', '70000', '--data', join(folder, 'a')], /70000/],
    [
      'no duration',
      ['case', join(samples, 'clean.json'), '--deadline', 'soon', '--data', join(folder, 'b')],
      /--deadline/,
    ],
    ['no idle time', ['start', '--idle', '10', '--data', join(folder, 'c')], /--idle/],
    ['no such service', ['start', '--inline', 'intake,nobody', '--data', join(folder, 'd')], /nobody/],
    ['no such system file', ['start', join(folder, 'none.ts'), '--data', join(folder, 'e')], /none\.ts/],
    [
      'two FILEs',
      ['case', join(samples, 'clean.json'), join(samples, 'yen.json'), '--data', join(folder, 'f')],
      /yen\.json/,
    ],
    ['no system that runs', ['cases', '--data', join(folder, 'g')], /no system runs/],
    ['no system to trace on', ['trace', 'WF-20250129-7K3QXM', '--data', join(folder, 'h')], /no system runs/],
    ['no system with services', ['services', '--data', join(folder, 'i')], /no system runs/],
    ['no system with topics', ['topics', '--data', join(folder, 'j')], /no system runs/],
  ])('%s', async (_title, args, message) => {
    const { code, stdout, stderr } = await dormouse(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^dormouse: [^\n]+\n$/);
  });

  test.each([
    [{ inbox: '1h' }, /retention\.inbox must be at least 1d, got "1h"/],
    [{ log: 'soon' }, /retention\.log: "soon" is not a duration.*or "off"/],
    [{ outbox: '1d' }, /has no setting "outbox"; there are inbox, log, journal, files/],
  ])('retention that is none: %j', async (retention, message) => {
    const project = join(folder, `retention-${Object.keys(retention)[0]}`);
    mkdirSync(project);
    const settings = { system: join(root, 'apps/orders/system.ts'), retention };
    writeFileSync(join(project, 'package.json'), JSON.stringify({ dormouse: settings }));
    const { code, stdout, stderr } = await dormouse(['start'], { folder: project });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^dormouse: [^\n]+\n$/);
  });

  test('no command at all: the overview, and exit 1', async () => {
    const { code, stdout } = await dormouse([]);
    expect(code).toBe(1);
    expect(stdout).toContain('Usage: dormouse COMMAND');
  });
});

describe.concurrent('validate', () => {
  test('what is valid: a request, a statement, a CSV', async () => {
    for (const [name, kind] of [
      ['sample-case.json', 'case request'],
      ['requests/unpaid.json', 'case request'],
      ['yen.json', 'statement'],
      ['card-export.csv', 'statement'],
    ] as const) {
      const { code, stdout } = await dormouse(['validate', join(samples, name)]);
      expect({ name, code }).toEqual({ name, code: 0 });
      expect(stdout).toContain(`a valid ${kind}`);
    }
  });

  test('FILE is found from the folder the user typed in', async () => {
    const args = ['run', '--silent', 'dormouse', '--', 'validate', 'casework/samples/yen.json'];
    expect(await npm(args, { folder: join(root, 'apps') })).toMatchObject({ code: 0 });
  });

  test('every problem of a request, by its path', async () => {
    const { code, stdout } = await dormouse(['validate', join(samples, 'requests/malformed.json')]);
    expect(code).toBe(1);
    const paths = ['clientId', 'client.email', 'client.phone', 'documents[0].name', 'statement.period.from'];
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split(':')[0]),
    ).toEqual(paths);
  });

  test('every problem of a statement, as JSON too', async () => {
    const statement = { ...smallStatement(), currency: 'EURO', holder: '', openingMinor: 1 };
    const file = requestFile(folder, 'problems.json', statement);
    const { code, stdout } = await dormouse(['validate', file, '--json']);
    expect(code).toBe(1);
    const answer = onlyJsonLine<{ valid: boolean; problems: { path: string; message: string }[] }>(stdout);
    expect(answer.valid).toBe(false);
    expect(answer.problems.map(({ path }) => path).toSorted()).toEqual(['closingMinor', 'currency', 'holder']);
  });

  test('every problem of a CSV, by its line', async () => {
    const file = requestFile(
      folder,
      'card.csv',
      '\uFEFFid,date,merchant,description,amountMinor,kind\r\na,2025-02-30,Shop,,100,charge\r\na,2025-02-01,Shop,,1.5,gift\r\n',
    );
    const { code, stdout } = await dormouse(['validate', file]);
    expect(code).toBe(1);
    for (const problem of [/2025-02-30/, /1\.5/, /gift/]) expect(stdout).toMatch(problem);
  });

  test('a BOM and CRLF are fine', async () => {
    const file = requestFile(
      folder,
      'windows.csv',
      '\uFEFFid,date,merchant,description,amountMinor,kind\r\na,2025-02-01,Shop,,100,charge\r\n',
    );
    expect(await dormouse(['validate', file])).toMatchObject({ code: 0 });
    const json = `\uFEFF${JSON.stringify(smallStatement(), null, 2).replaceAll('\n', '\r\n')}`;
    expect(await dormouse(['validate', requestFile(folder, 'windows.json', json)])).toMatchObject({ code: 0 });
  });

  test('a file over 10 MB is one problem', async () => {
    const { code, stdout } = await dormouse(['validate', requestFile(folder, 'large.json', ' '.repeat(10_000_001))]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/10000000/);
  });
});
