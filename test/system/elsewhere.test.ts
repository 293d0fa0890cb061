// Real: commands that ask a console by its address, as one on another machine.

import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { dormouse, samples } from './program.ts';
import { onlyJsonLine, RunningSystem } from './running-system.ts';
import { temporaryFolder } from './temporary-folder.ts';

// No project is there, and no data directory.
const folder = mkdtempSync(join(temporaryFolder(), 'elsewhere-'));

async function listening(answer: Parameters<typeof createServer>[1]): Promise<number> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const asked = (args: string[], environment: Record<string, string> = { DORMOUSE_TOKEN: 'dm_of-nobody' }) =>
  dormouse(args, { folder, environment });

test('a case is opened and followed on a system that is named by its URL; its letters are where that console has them', async () => {
  const system = await RunningSystem.ofThisTest({ args: ['--no-sample'] });
  const { token } = system.host;
  const file = join(folder, 'token');
  writeFileSync(file, `${token}\n`);
  const opened = await asked(
    ['case', join(samples, 'sample-case.json'), '--json', '--url', system.url, '--token-file', file],
    {},
  );
  const { workflowId, status, letters } = onlyJsonLine<{ workflowId: string; status: string; letters: string[] }>(
    opened.stdout,
    opened.stderr,
  );
  expect(status).toBe('closed');
  expect(letters.length).toBeGreaterThan(0);
  for (const letter of letters) {
    const found = await fetch(letter, { headers: { authorization: `Bearer ${token}` } });
    expect([found.status, found.headers.get('content-type')]).toEqual([200, 'application/pdf']);
  }
  const made = await asked(['token', 'create', '--role', 'client', '--tenant', 'acme', '--url', system.url], {
    DORMOUSE_TOKEN: token,
  });
  expect(made.stdout).toMatch(/^dm_/);
  const seen = await asked(['trace', workflowId, '--url', system.url, '--token', token], {});
  expect(seen).toMatchObject({ code: 0, stdout: expect.stringContaining('workflow.initiate') });
  expect(seen.stderr).toMatch(
    /^dormouse: a token on the command line is seen .*DORMOUSE_TOKEN, or --token-file FILE\n$/,
  );
});

test('what is no token is refused by the name of where it was given, and not shown', async () => {
  const file = join(folder, 'two-lines');
  writeFileSync(file, 's3cr3t\nmore\n');
  const refused = [
    ['DORMOUSE_TOKEN', [], { DORMOUSE_TOKEN: 's3cr3t\nmore' }],
    ['DORMOUSE_IDENTITY_TOKEN', [], { DORMOUSE_TOKEN: 'dm_of-nobody', DORMOUSE_IDENTITY_TOKEN: 's3cr3t\nmore' }],
    ['--token-file', ['--token-file', file], {}],
  ] as const;
  for (const [name, args, environment] of refused) {
    const told = await asked(['cases', '--url', 'https://127.0.0.1:1', ...args], environment);
    expect(told, name).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/must hold a token/) });
    expect(told.stderr).toMatch(`dormouse: ${name}`);
    expect(told.stderr).not.toMatch(/s3cr3t|more$/);
  }
});

describe('what a URL must be', () => {
  test('an address of another form, or one to which a token would go unencrypted, is refused', async () => {
    const refused = [
      ['http://console.example', /unencrypted.*use https, or say --insecure-http/],
      ['http://10.0.0.7:4100', /unencrypted/],
      ['https://console.example/api', /nothing after it; got "https:\/\/console\.example\/api"/],
      ['https://me:secret@console.example', /a name or a password\n$/],
      ['ftp://console.example', /of another kind/],
      ['console.example', /is no address/],
    ] as const;
    for (const [told, url, said] of await Promise.all(
      refused.map(async ([url, said]) => [await asked(['cases', '--url', url]), url, said] as const),
    )) {
      expect(told, url).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(said) });
      expect(told.stderr).toMatch(/^dormouse: --url/);
    }
    const environment = { DORMOUSE_URL: 'console.example', DORMOUSE_TOKEN: 'dm_of-nobody' };
    expect((await asked(['cases'], environment)).stderr).toMatch(/^dormouse: DORMOUSE_URL must be/);
  });

  test('a URL and a data directory are not named together', async () => {
    const refused = await asked(['cases', '--url', 'https://console.example', '--data', folder]);
    expect(refused.stderr).toMatch(/--url is of a system elsewhere, --data of one on this machine/);
  });

  test('who asks must be said, and is read from a file that holds a token alone', async () => {
    const url = ['--url', 'https://console.example'];
    expect((await asked(['cases', ...url], {})).stderr).toMatch(
      /who asks https:\/\/console\.example\?.*DORMOUSE_TOKEN/,
    );
    const file = join(folder, 'two-words');
    writeFileSync(file, 'two words');
    expect((await asked(['cases', ...url, '--token-file', file], {})).stderr).toMatch(/must hold a token and nothing/);
    expect((await asked(['cases', ...url, '--token-file', 'nowhere'], {})).stderr).toMatch(/--token-file: ENOENT/);
  });
});

test('where nobody answers, or something that is no console, it is told; a token follows no redirection', async () => {
  let followed = false;
  const other = await listening((_request, response) => {
    followed = true;
    response.end();
  });
  const redirecting = await listening((_request, response) => {
    response.writeHead(302, { location: `http://127.0.0.1:${other}/` }).end();
  });
  const sent = await asked(['cases', '--url', `http://127.0.0.1:${redirecting}`]);
  expect(sent.stderr).toMatch(`sends elsewhere, to http://127.0.0.1:${other}/`);
  expect(followed).toBe(false);
  const unencrypted = await asked(['cases', '--url', `https://127.0.0.1:${other}`]);
  expect(unencrypted.stderr).toMatch(`no console answers at https://127.0.0.1:${other}: `);
  const lost = await listening((_request, response) => response.writeHead(404).end('<title>Not Found</title>'));
  expect((await asked(['cases', '--url', `http://127.0.0.1:${lost}`])).stderr).toMatch(
    /whatever stands before http:.* answered 404, and the console nothing/,
  );
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port } = gone.address() as AddressInfo;
  gone.close();
  await once(gone, 'close');
  expect((await asked(['cases', '--url', `http://127.0.0.1:${port}`])).stderr).toMatch(/ECONNREFUSED/);
});
