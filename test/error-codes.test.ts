import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodes } from '@dormouse/core';
import { expect, test } from 'vitest';

test('docs/errors.md lists every error code with its meaning, and no other', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/errors.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([a-z.-]+)` \| (.+) \|$/gm)].map(([, code, meaning]) => [code, meaning]);
  expect(Object.fromEntries(rows)).toEqual(errorCodes);
});
