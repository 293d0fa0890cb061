// Real: the command, one running system, PDFs on disk. The main job on every sample.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, isAbsolute, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { samples } from './program.ts';
import { type CaseResult, RunningSystem } from './running-system.ts';

type Findings = CaseResult['findings'];

const statements = readdirSync(samples).filter(
  (name) => /(?<!\.expected)\.(json|csv)$/.test(name) && existsSync(expectedFile(name)),
);
const hasPdftotext = !spawnSync('pdftotext', ['-v']).error;
const requiresPdftotext = (process.env.DORMOUSE_REQUIRE ?? '').split(',').includes('pdftotext');

const cases = new Map<string, ReturnType<RunningSystem['case']>>();
let system: RunningSystem;
beforeAll(async () => {
  system = await RunningSystem.start({ args: ['--no-sample'] });
});
afterAll(() => system?.destroy());

test('there are at least twelve sample statements', () => {
  expect(statements.length).toBeGreaterThanOrEqual(12);
});

describe.concurrent('every sample is closed with the findings that lie beside it, and a letter to each merchant', () => {
  test.each(statements)('%s', async (name) => {
    const { code, result } = await sampleCase(name);
    expect(code).toBe(0);
    expect(result).toEqual({
      workflowId: expect.stringMatching(/^WF-\d{8}-[0-9A-Z]{6}$/),
      status: 'closed',
      reasons: [],
      findings: expect.any(Array),
      letters: expect.any(Array),
      events: expect.any(Number),
      durationMs: expect.any(Number),
    });
    const expected = expectedFindings(name);
    expect(sorted(result.findings)).toEqual(sorted(expected));

    const merchants = [...new Set(expected.map(({ merchant }) => merchant))];
    expect(result.letters).toHaveLength(merchants.length);
    expect(new Set(result.letters).size).toBe(merchants.length);
    for (const letter of result.letters) {
      expect(isAbsolute(letter)).toBe(true);
      expect(basename(letter)).toMatch(/^[\w.-]+\.pdf$/);
      expect(readFileSync(letter).subarray(0, 5).toString()).toBe('%PDF-');
    }
  });
});

test.skipIf(!hasPdftotext && !requiresPdftotext)(
  'pdftotext finds each merchant in a letter (skipped without pdftotext, unless DORMOUSE_REQUIRE names it)',
  async () => {
    for (const name of ['chinese.json', 'yen.json', 'oddities.json', 'card-export.csv']) {
      const { result } = await sampleCase(name);
      const texts = result.letters.map((letter) =>
        squeezed(execFileSync('pdftotext', [letter, '-'], { encoding: 'utf8' })),
      );
      for (const merchant of new Set(result.findings.map(({ merchant }) => merchant))) {
        const found = texts.filter((text) => text.includes(squeezed(merchant)));
        expect({ name, merchant, found: found.length >= 1 }).toEqual({ name, merchant, found: true });
      }
    }
  },
);

test('the sandbox bank gives the statement that a request names', async () => {
  const { code, result } = await system.case(join(samples, 'sample-case.json'));
  expect({ code, status: result.status }).toEqual({ code: 0, status: 'closed' });
  expect(sorted(result.findings)).toEqual(sorted(expectedFindings('household.json')));
});

/** Each sample runs once, whoever asks. */
function sampleCase(name: string): ReturnType<RunningSystem['case']> {
  const running = cases.get(name) ?? system.case(join(samples, name));
  cases.set(name, running);
  return running;
}

function expectedFile(statement: string): string {
  return join(samples, statement.replace(/\.(json|csv)$/, '.expected.json'));
}

function expectedFindings(statement: string): Findings {
  return JSON.parse(readFileSync(expectedFile(statement), 'utf8'));
}

/** The order of findings is not promised. */
function sorted(findings: Findings): Findings {
  const key = ({ rule, date, merchant, lineIds }: Findings[number]) => JSON.stringify([date, rule, merchant, lineIds]);
  return findings.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** Without white space, control characters and direction marks: pdftotext breaks lines and adds marks of its own. */
function squeezed(text: string): string {
  return text.normalize('NFKC').replace(/[\s\p{Cc}\p{Cf}]+/gu, '');
}
