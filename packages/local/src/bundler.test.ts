// Real: bundlers in processes of their own, over sources on disk.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bundler } from './bundler.ts';
import { sourcesOf } from './sources.ts';

let folder: string;
const file = (name: string) => join(folder, name);
const bundleOf = (build: string, service: string) => readFileSync(file(`${build}/${service}.mjs`), 'utf8');

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dormouse-bundler-'));
  mkdirSync(file('node_modules/@dormouse'), { recursive: true });
  for (const name of ['zod', '@dormouse/core']) {
    symlinkSync(join(import.meta.dirname, '../../../node_modules', name), file(`node_modules/${name}`));
  }
  declare('scribe');
  writeFileSync(file('scribe.ts'), serviceOf('scribe', 'first'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function declare(...services: string[]): void {
  const files = services.map((name) => `${name}: './${name}.ts'`).join(', ');
  writeFileSync(
    file('system.ts'),
    `import { system, topic } from '@dormouse/core';\nimport * as z from 'zod';\nexport const news = topic('news', { schema: z.unknown() });\nexport default system('small', { topics: [news], services: { ${files} } });\n`,
  );
}

function serviceOf(name: string, says: string): string {
  return `import { on, service } from '@dormouse/core';\nimport { news } from './system.ts';\nexport default service('${name}', [on(news, async () => console.log('${says}'))]);\n`;
}

function bundler(build: string, before?: string): Bundler {
  return new Bundler(file('system.ts'), file(build), before && file(before));
}

test('a bundler that was prepared bundles what the sources are when it is told to', async () => {
  await bundler('a').bundle();
  const prepared = bundler('b', 'a');
  writeFileSync(file('scribe.ts'), serviceOf('scribe', 'second'));
  const manifest = await prepared.bundle();
  expect(bundleOf('b', 'scribe')).toContain('second');
  expect(manifest.services).toMatchObject([{ name: 'scribe', run: { file: file('b/scribe.mjs') } }]);
  expect(sourcesOf(file('b'))).toEqual(sourcesOf(file('a')));
  expect(bundleOf('a', 'scribe')).toContain('first');
});

test('also where the system is made of more than when it was prepared', async () => {
  await bundler('a').bundle();
  const prepared = bundler('b', 'a');
  declare('scribe', 'reader');
  writeFileSync(file('reader.ts'), serviceOf('reader', 'new'));
  expect((await prepared.bundle()).services.map(({ name }) => name)).toEqual(['scribe', 'reader']);
  expect(bundleOf('b', 'reader')).toContain('new');
});

test('what is broken is told with its place, prepared or not; what was broken while it was prepared counts no more', async () => {
  await bundler('a').bundle();
  writeFileSync(file('scribe.ts'), 'export default broken(;\n');
  const mended = bundler('c', 'a');
  for (const each of [bundler('b'), bundler('b', 'a')]) {
    await expect(each.bundle()).rejects.toThrow(/does not build:(?:.|\n)*scribe\.ts:1/);
  }
  writeFileSync(file('scribe.ts'), serviceOf('scribe', 'mended'));
  await mended.bundle();
  expect(bundleOf('c', 'scribe')).toContain('mended');
});

test('a bundler that is stopped ends, and one that is aborted says so', async () => {
  await bundler('a').bundle();
  const prepared = bundler('b', 'a');
  prepared.stop();
  await expect.poll(() => prepared.isRunning).toBe(false);
  await expect(bundler('b').bundle(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
});
