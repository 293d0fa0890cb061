// Real: the folder of an image as the script makes it.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { imageCommand, imageEnvironment } from '../../deploy/image-process.ts';
import { npm, root } from '../system/program.ts';
import { SmallSystem } from '../system/small-system.ts';
import { temporaryFolder } from '../system/temporary-folder.ts';

const folder = temporaryFolder();
const dockerfile = readFileSync(join(root, 'deploy/Dockerfile'), 'utf8');
const [build, run] = dockerfile.split(/^FROM .*$/m).slice(1) as [string, string];

test('the Dockerfile and the script make, set and run the same', () => {
  const { devDependencies, scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
  // The Node that its compiled code is of, and what is tested.
  expect(bases).toEqual(Array(2).fill(`node:${devDependencies.node}-slim`));
  expect(build).toContain('RUN npm run image -- "$SYSTEM" --service "$SERVICE" --out /image\n');
  expect(scripts.image).toBe('exec node deploy/image.ts');
  const [, variables] = /^ENV ((?:.*\\\n)*.*)$/m.exec(run)!;
  const set = [...variables!.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]);
  expect(Object.fromEntries(set)).toEqual(imageEnvironment);
  expect(JSON.parse(/^CMD (.*)$/m.exec(run)![1]!)).toEqual(imageCommand);
  expect(run).toContain('COPY --from=build --chown=node:node /image/$SERVICE ./\n');
  expect(run).toMatch(/^USER node$/m);
});

test('an image holds one service with what it imports, compiled, and runs from any folder without the environment of whoever starts it', async () => {
  const small = SmallSystem.in(folder, "scribe: './scribe.ts', other: './other.ts'");
  small.service('scribe', "if (text === 'never') throw new Error('of the scribe');");
  small.service('other', "if (text === 'never') throw new Error('of the other');");
  const out = join(small.folder, 'images');
  const made = await npm(['run', 'image', '--', small.systemFile, '--service', 'scribe', '--out', out]);
  expect(made.code, made.stderr).toBe(0);
  const image = join(out, 'scribe');
  expect(readdirSync(out)).toEqual(['scribe']);

  const files = readdirSync(image);
  expect(files.filter((name) => !/^chunk-\w{8}\.mjs$/.test(name)).toSorted()).toEqual([
    'compile-cache',
    'service.mjs',
    'system.json',
  ]);
  const code = files.filter((name) => name.endsWith('.mjs')).map((name) => readFileSync(join(image, name), 'utf8'));
  expect(code.some((text) => text.includes('of the scribe'))).toBe(true);
  expect(code.some((text) => text.includes('of the other'))).toBe(false);
  expect(readFileSync(join(image, 'system.json'), 'utf8')).not.toContain(small.folder);

  const elsewhere = join(mkdtempSync(join(folder, 'elsewhere-')), 'app');
  cpSync(image, join(elsewhere, 'scribe'), { recursive: true });
  const arguments_ = ['run', 'image', '--', '--out', elsewhere, '--start', 'scribe', '--env', 'PORT=8080'];
  const started = await npm(arguments_, { environment: { GOOGLE_CLOUD_PROJECT: 'not-for-the-image' } });
  expect(started.code).toBe(1);
  expect(started.stdout).toContain('GOOGLE_CLOUD_PROJECT is not set');

  // What it loads lies compiled in its cache, also where the folder has moved.
  const { stderr } = spawnSync(process.execPath, ['service.mjs'], {
    cwd: join(elsewhere, 'scribe'),
    env: { ...imageEnvironment, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' },
    encoding: 'utf8',
  });
  expect(stderr).toMatch(/cache for .*service\.mjs was accepted/);
  expect(stderr).not.toMatch(/was rejected/);
});

test('what is no service of the system is no image', async () => {
  const small = SmallSystem.in(folder, "scribe: './scribe.ts', tally: { command: ['true'], subscriptions: [] }");
  small.service('scribe', '');
  const make = (name: string) =>
    npm(['run', 'image', '--', small.systemFile, '--service', name, '--out', join(small.folder, 'images')]);
  const unknown = await make('nobody');
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).toContain('no image: there is no service "nobody"; there are scribe, console');
  expect((await make('tally')).stderr).toContain('no image: "tally" is a command of its own');
});
