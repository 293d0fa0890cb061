// Real: the description a running host gives of itself, a public validator, a public generator, and the client it makes.
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { caseRequest, smallStatement } from '../system/case-request.ts';
import { RunningSystem } from '../system/running-system.ts';

interface Described {
  readonly operationId: string;
  readonly responses: Record<string, { readonly content?: Record<string, { readonly schema?: object }> }>;
}

let system: RunningSystem;
// Below the project, so that what is imported there is found.
const folder = join(import.meta.dirname, 'generated');

beforeAll(async () => {
  system = await RunningSystem.start({ args: ['--no-sample'] });
  mkdirSync(folder, { recursive: true });
});
afterAll(() => {
  system?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

test('the description is valid OpenAPI 3.1, and names every operation once', async () => {
  const description = await system.get<Record<string, unknown>>('/openapi.json');
  expect(description.openapi).toMatch(/^3\.1\./);
  const validator = new Validator();
  expect(await validator.validate(structuredClone(description))).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
  const operations = Object.values(
    description.paths as Record<string, Record<string, { operationId: string }>>,
  ).flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
  expect(new Set(operations).size).toBe(operations.length);
});

test('what every operation that only reads answers is as described', async () => {
  const id = await system.open(caseRequest());
  await system.reaches(id, 'closed');
  const { paths } = await system.get<{ paths: Record<string, Record<string, Described>> }>('/openapi.json');
  const ajv = new Ajv2020({ strict: false, formats: { uri: true } });
  const checked: string[] = [];
  for (const [path, { get }] of Object.entries(paths)) {
    const schema = get?.responses[200]?.content?.['application/json']?.schema;
    if (!get || !schema || path.startsWith('/api/dead-letters/')) continue;
    const answer = await system.get(
      path.replace('{id}', id).replace('{collection}', 'letters').replace('{entry}', '1'),
    );
    expect({ path, fits: ajv.validate(schema, answer), errors: ajv.errors }).toEqual({
      path,
      fits: true,
      errors: null,
    });
    checked.push(get.operationId);
  }
  expect(checked).toEqual(
    expect.arrayContaining(['listWorkflows', 'listEvents', 'traceWorkflow', 'getWorkflowAt', 'listTokens']),
  );
});

test('a client generated from it is typed, catches mistakes, and works', async () => {
  writeFileSync(join(folder, 'openapi.json'), await (await system.fetch('/openapi.json')).text());
  const options = {
    strict: true,
    module: 'nodenext',
    target: 'esnext',
    noEmit: true,
    allowImportingTsExtensions: true,
  };
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...options, types: ['node'], skipLibCheck: true }, include: ['*.ts'] }),
  );
  copyFileSync(join(import.meta.dirname, 'uses.ts'), join(folder, 'uses.ts'));
  await tool('openapi-typescript/package.json', 'bin/cli.js', ['openapi.json', '--output', 'openapi.d.ts']);
  await tool('typescript/package.json', 'bin/tsc', ['-p', '.']);

  const request = caseRequest({
    statement: { inline: smallStatement('Silent & Sons') },
    sandbox: { replies: { 'Silent & Sons': 'silent' } },
  });
  const used = await run('uses.ts', [system.url, system.host.token, JSON.stringify(request)]);
  const { id, ...rest } = JSON.parse(used);
  expect(rest).toMatchObject({
    ids: expect.arrayContaining([id]),
    cancelled: { workflowId: id },
    problem: [404, 'Not Found'],
  });
  expect(rest.cursors.length).toBeGreaterThan(0);
  await system.reaches(id, 'cancelled');
});

/** A tool of this folder's own packages. */
function tool(packageFile: string, file: string, args: string[]): Promise<string> {
  return run(join(dirname(createRequire(import.meta.url).resolve(packageFile)), file), args);
}

/** What it printed. @throws with all that it said, where it did not succeed */
async function run(file: string, args: string[]): Promise<string> {
  try {
    return (await promisify(execFile)(process.execPath, [file, ...args], { cwd: folder })).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${file} failed: ${stdout}${stderr}`);
  }
}
