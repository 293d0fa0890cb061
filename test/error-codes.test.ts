import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodes, fates } from '@dormouse/core';
import { expect, test } from 'vitest';

test('docs/errors.md lists every error code with its meaning, and no other', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/errors.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([a-z.-]+)` \| (.+) \|$/gm)].map(([, code, meaning]) => [code, meaning]);
  expect(Object.fromEntries(rows)).toEqual(errorCodes);
});

test('docs/semantics.md says of every code what follows it', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/semantics.md'), 'utf8');
  const table = page.slice(page.indexOf('| what follows |'), page.indexOf('What is none of ours'));
  const rows = [...table.matchAll(/^\| (dead letter|later|wire|policy) \|.*\| ([^|]+) \|$/gm)];
  const told = rows.flatMap(([, fate, codes]) => codes!.split(' ').map((code) => [code.replaceAll('`', ''), fate]));
  expect(told).toHaveLength(Object.keys(fates).length);
  expect(Object.fromEntries(told)).toEqual(fates);
});
