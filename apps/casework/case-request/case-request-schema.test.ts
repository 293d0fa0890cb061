import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isBareStatement, readStatement } from '../statement/read-statement.ts';
import { parseCaseRequest, requestForBareStatement } from './case-request.ts';
import { caseRequestSchema } from './case-request-schema.ts';

const samples = join(import.meta.dirname, '../samples');

function* requests(): Generator<[string, unknown]> {
  for (const name of readdirSync(samples, { recursive: true, encoding: 'utf8' })) {
    if (!/\.(json|csv)$/.test(name) || name.endsWith('.expected.json')) continue;
    const text = readFileSync(join(samples, name), 'utf8');
    const value = name.endsWith('.csv') ? undefined : JSON.parse(text);
    if (value !== undefined && !isBareStatement(value)) yield [name, value];
    else {
      const read = readStatement(text, { fileName: name });
      if ('statement' in read) yield [name, requestForBareStatement(read.statement)];
    }
  }
}

test('whatever is taken as a case request fits the schema the API describes, also with any one field gone or null', () => {
  let taken = 0;
  for (const [name, request] of requests()) {
    for (const [at, mutant] of mutants(request)) {
      if ('problems' in parseCaseRequest(mutant)) continue;
      taken++;
      const { success, error } = caseRequestSchema.safeParse(mutant);
      expect({ name, at, success, error: error?.issues }).toMatchObject({ success: true });
    }
  }
  expect(taken).toBeGreaterThan(100);
});

test('what the schema refuses of a sample that is malformed, the reader refuses too', () => {
  const malformed = JSON.parse(readFileSync(join(samples, 'requests/malformed.json'), 'utf8'));
  expect(caseRequestSchema.safeParse(malformed).success).toBe(false);
});

/** The value itself, and with each of its fields left out, null, empty, or with one more beside it. Lists: their first only. */
function* mutants(value: unknown, path = ''): Generator<[string, unknown]> {
  yield [path, value];
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const [at, first] of value.length > 0 ? mutants(value[0], `${path}[0]`) : [])
      yield [at, [first, ...value.slice(1)]];
    return;
  }
  yield [`${path}.more`, { ...value, more: 1 }];
  for (const [key, member] of Object.entries(value)) {
    const { [key]: _gone, ...rest } = value as Record<string, unknown>;
    yield [`${path}.${key} gone`, rest];
    for (const other of [null, '', [], {}]) yield [`${path}.${key}`, { ...value, [key]: other }];
    for (const [at, mutant] of mutants(member, `${path}.${key}`)) yield [at, { ...value, [key]: mutant }];
  }
}
