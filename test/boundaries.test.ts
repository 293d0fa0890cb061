import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

// Arrows point down only. What a package may import of its siblings; everything else is a broken boundary.
const allowed: Record<string, readonly string[]> = {
  'packages/core': [],
  'packages/broker': [],
  // The last lines of a bundle choose the platform: `serve` of the one or the other.
  'packages/local': ['@dormouse/core', '@dormouse/broker', '@dormouse/gcp'],
  'packages/gcp': ['@dormouse/core'],
  'packages/console': ['@dormouse/core'],
  'packages/testing': ['@dormouse/core', '@dormouse/broker', '@dormouse/local', '@dormouse/gcp', '@dormouse/console'],
  'packages/cli': [
    '@dormouse/core',
    '@dormouse/broker',
    '@dormouse/local',
    '@dormouse/gcp',
    '@dormouse/console',
    '@dormouse/casework',
  ],
  'apps/casework': ['@dormouse/core', '@dormouse/testing'],
  'apps/orders': ['@dormouse/core', '@dormouse/testing'],
};

// `core` must wake fast and run anywhere: the few files that may import a Node module, and which.
const nodeModulesInCore: Record<string, readonly string[]> = {
  'ids.ts': ['node:crypto'],
  'step.ts': ['node:async_hooks'],
};

const root = join(import.meta.dirname, '..');

function* sources(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    if (name === 'node_modules') continue;
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (/\.(ts|tsx|js|mjs)$/.test(name)) yield path;
  }
}

/** What a package lets its siblings import: its index, and what has a door of its own, for who must start light. */
function doorsOf(sibling: string): string[] {
  const folder = join(root, 'node_modules', sibling);
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { exports: object };
  return Object.keys(exports).map((door) => sibling + door.slice(1));
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]!);
}

for (const [folder, siblings] of Object.entries(allowed)) {
  test(`${folder} imports only ${siblings.length ? siblings.join(', ') : 'no sibling package'}`, () => {
    const broken: string[] = [];
    for (const file of sources(join(root, folder))) {
      const name = file.slice(root.length + 1);
      for (const specifier of importsOf(file)) {
        const sibling = /^@dormouse\/[a-z]+/.exec(specifier)?.[0];
        if (sibling && !siblings.includes(sibling)) broken.push(`${name} imports ${specifier}`);
        if (sibling && !doorsOf(sibling).includes(specifier))
          broken.push(`${name} reaches past the doors: ${specifier}`);
        const reachesOut = specifier.startsWith('.') && !join(file, '..', specifier).startsWith(join(root, folder));
        if (reachesOut) broken.push(`${name} reaches out of its package: ${specifier}`);
      }
    }
    expect(broken).toEqual([]);
  });
}

test('only tests and scenarios import @dormouse/testing', () => {
  const files = ['apps', 'packages'].flatMap((folder) => [...sources(join(root, folder))]);
  const importing = files.filter((file) => importsOf(file).includes('@dormouse/testing'));
  expect(importing.filter((file) => !/(\.test\.ts|\/scenarios\/[^/]+\.ts)$/.test(file))).toEqual([]);
  expect(importing).not.toEqual([]);
});

test('core imports Node modules only where named', () => {
  const found: Record<string, string[]> = {};
  for (const file of sources(join(root, 'packages/core/src'))) {
    if (file.endsWith('.test.ts')) continue;
    const specifiers = importsOf(file).filter((specifier) => specifier.startsWith('node:'));
    if (specifiers.length) found[file.slice(join(root, 'packages/core/src').length + 1)] = specifiers;
  }
  expect(found).toEqual(nodeModulesInCore);
});
