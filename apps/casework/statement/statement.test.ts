import { expect, test } from 'vitest';
import { parseStatement } from './statement.ts';

const valid = {
  accountId: 'acc-1',
  holder: 'Ada',
  currency: 'EUR',
  period: { from: '2025-01-01', to: '2025-01-31' },
  openingMinor: 1000,
  closingMinor: 500,
  lines: [
    { id: 'a', date: '2025-01-01', merchant: 'Shop', description: '', amountMinor: 300, kind: 'charge' },
    { id: 'b', date: '2025-01-31', merchant: 'Bank', description: 'Card', amountMinor: 200, kind: 'fee' },
  ],
  terms: {
    recurring: [
      { merchant: 'Gym', amountMinor: 3000, interval: 'month', since: '2025-02-01', cancelledAt: '2025-01-15' },
    ],
    fees: [{ name: 'card', maxMinor: 200 }],
    refundsPromised: [{ merchant: 'Shop', amountMinor: 10, promisedAt: '2025-01-05', dueBy: '2025-01-05' }],
  },
};

/** Sets a value in a copy of the valid statement; undefined takes it away. */
function statementWith(path: string, value: unknown): unknown {
  const statement = structuredClone(valid);
  const keys = path.split('.');
  // biome-ignore lint/suspicious/noExplicitAny: walks to any place.
  const parent = keys.slice(0, -1).reduce<any>((object, key) => object[key], statement);
  parent[keys.at(-1)!] = value;
  return statement;
}

function problemsOf(value: unknown): string[] {
  const result = parseStatement(value);
  return 'problems' in result ? result.problems.map(({ path, message }) => `${path}: ${message}`) : [];
}

test('a valid statement comes back as it was', () => {
  expect(parseStatement(valid)).toEqual({ statement: valid });
});

test('terms and balance may be left out', () => {
  const { openingMinor, closingMinor, terms, ...bare } = valid;
  expect(parseStatement(bare)).toEqual({ statement: bare });
});

test('fields that are not known are dropped', () => {
  const extra = { ...valid, note: 'x', lines: valid.lines.map((line) => ({ ...line, colour: 'red' })) };
  expect(parseStatement(extra)).toEqual({ statement: valid });
});

const text = 'give a non-empty text';
const date = 'must be a real date as YYYY-MM-DD';
const amount = 'must be a whole number of minor units from 1 to 2^53 - 1';

test.each<[path: string, value: unknown, problem: string]>([
  ['accountId', undefined, `accountId: is missing: ${text}`],
  ['accountId', '', 'accountId: must be a non-empty text, got ""'],
  ['accountId', 12, 'accountId: must be a non-empty text, got 12'],
  ['holder', null, 'holder: must be a non-empty text, got null'],
  ['holder', '\ud800', 'holder: holds half a UTF-16 surrogate pair'],
  ['currency', 'EURO', 'currency: must be an ISO 4217 code with a minor unit, such as "EUR", got "EURO"'],
  ['currency', 'eur', 'currency: must be an ISO 4217 code'],
  ['currency', 'XXX', 'currency: must be an ISO 4217 code'],
  ['period', undefined, 'period: is missing: give an object'],
  ['period', '2025', 'period: must be an object, got "2025"'],
  ['period.from', undefined, 'period.from: is missing: give a real date as YYYY-MM-DD'],
  ['period.to', '2024-12-31', 'period.to: must not be before period.from (2025-01-01), got "2024-12-31"'],
  ['period.to', '2025-02-29', `period.to: ${date}, got "2025-02-29"`],
  ['openingMinor', undefined, 'openingMinor: is missing, while closingMinor is given: give both or neither'],
  ['closingMinor', undefined, 'closingMinor: is missing, while openingMinor is given: give both or neither'],
  ['openingMinor', 0.5, 'openingMinor: must be a whole number'],
  ['closingMinor', '500', 'closingMinor: must be a whole number of minor units between -2^53 and 2^53, got "500"'],
  ['closingMinor', 2 ** 53, 'closingMinor: must be a whole number'],
  ['lines', undefined, 'lines: is missing: give a list'],
  ['lines', {}, 'lines: must be a list, got an object'],
  ['lines.1', null, 'lines[1]: must be an object, got null'],
  ['lines.1', [], 'lines[1]: must be an object, got a list'],
  ['lines.1.id', 'a', 'lines[1].id: must be unique, "a" is also that of lines[0]: give each line an id of its own'],
  ['lines.1.id', '', 'lines[1].id: must be a non-empty text'],
  ['lines.0.date', '2025-1-1', `lines[0].date: ${date}, got "2025-1-1"`],
  ['lines.0.date', '2025-01-01T00:00:00Z', `lines[0].date: ${date}`],
  ['lines.0.date', '2024-12-31', 'lines[0].date: must be inside the period 2025-01-01 to 2025-01-31, got "2024-12-31"'],
  ['lines.1.date', '2025-02-01', 'lines[1].date: must be inside the period'],
  ['lines.0.merchant', '', 'lines[0].merchant: must be a non-empty text'],
  ['lines.0.description', undefined, 'lines[0].description: is missing: give a text'],
  ['lines.0.amountMinor', 0, `lines[0].amountMinor: ${amount} (12.30 is 1230), got 0`],
  ['lines.0.amountMinor', -1, `lines[0].amountMinor: ${amount}`],
  ['lines.0.amountMinor', 12.3, `lines[0].amountMinor: ${amount} (12.30 is 1230), got 12.3`],
  ['lines.0.amountMinor', '300', `lines[0].amountMinor: ${amount} (12.30 is 1230), got "300"`],
  ['lines.0.amountMinor', Number.POSITIVE_INFINITY, `lines[0].amountMinor: ${amount}`],
  ['lines.0.kind', 'debit', 'lines[0].kind: must be "charge" or "fee" or "refund" or "payment", got "debit"'],
  ['terms', null, 'terms: must be an object, got null'],
  ['terms.recurring', {}, 'terms.recurring: must be a list, got an object'],
  ['terms.recurring.0.amountMinor', 0, `terms.recurring[0].amountMinor: ${amount}`],
  ['terms.recurring.0.interval', 'week', 'terms.recurring[0].interval: must be "month" or "year", got "week"'],
  ['terms.recurring.0.since', undefined, 'terms.recurring[0].since: is missing'],
  ['terms.recurring.0.cancelledAt', '2025-04-31', `terms.recurring[0].cancelledAt: ${date}`],
  ['terms.recurring.1', valid.terms.recurring[0], 'terms.recurring[1].merchant: must be unique, "Gym" is also that of'],
  ['terms.fees.0.name', '', 'terms.fees[0].name: must be a non-empty text'],
  ['terms.fees.0.maxMinor', -1, `terms.fees[0].maxMinor: ${amount}`],
  ['terms.refundsPromised.0.merchant', '', 'terms.refundsPromised[0].merchant: must be a non-empty text'],
  ['terms.refundsPromised.0.amountMinor', null, `terms.refundsPromised[0].amountMinor: ${amount}`],
  ['terms.refundsPromised.0.dueBy', '2025-01-04', 'terms.refundsPromised[0].dueBy: must not be before promisedAt'],
])('%s = %j is the one problem found', (path, value, problem) => {
  const problems = problemsOf(statementWith(path, value));
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(problem);
});

test.each([
  ['0000-01-01', false],
  ['0001-01-01', true],
  ['2000-02-29', true],
  ['1900-02-29', false],
  ['2024-02-29', true],
  ['2023-02-29', false],
  ['2025-02-30', false],
  ['2025-04-31', false],
  ['2025-13-01', false],
  ['2025-00-10', false],
  ['2025-01-00', false],
  ['9999-12-31', true],
  ['+002025-01-01', false],
  ['2025-01-01 ', false],
  ['２０２５-01-01', false],
])('%s being a real date is %s', (day, isReal) => {
  const lines = [{ ...valid.lines[0], date: day }];
  const value = { ...valid, period: { from: '0001-01-01', to: '9999-12-31' }, lines };
  expect(problemsOf(value).length === 0).toBe(isReal);
});

test('merchants that differ only in case or accents may each have a recurring term', () => {
  const [term] = valid.terms.recurring;
  const recurring = ['Gym', 'gym', 'Caf\u00e9', 'Cafe\u0301'].map((merchant) => ({ ...term, merchant }));
  expect(problemsOf(statementWith('terms.recurring', recurring))).toEqual([]);
});

const most = Number.MAX_SAFE_INTEGER;
const line = valid.lines[0]!;

test.each<[name: string, value: object, path: string]>([
  [
    'lines',
    {
      lines: [
        { ...line, amountMinor: most },
        { ...line, id: 'b', amountMinor: 1 },
      ],
    },
    'lines',
  ],
  [
    'lines and promises',
    {
      lines: [{ ...line, amountMinor: most }],
      terms: { refundsPromised: valid.terms.refundsPromised },
    },
    'terms.refundsPromised',
  ],
  [
    'opening balance and lines',
    { openingMinor: most, closingMinor: most, lines: [{ ...line, kind: 'payment', amountMinor: 1 }] },
    'openingMinor',
  ],
  ['what the balance is off', { openingMinor: -most, closingMinor: most, lines: [] }, 'closingMinor'],
])('the sum of %s must be below 2^53', (_, parts, path) => {
  const { openingMinor, closingMinor, terms, ...bare } = valid;
  const problems = problemsOf({ ...bare, ...parts });
  expect(problems).toEqual([expect.stringMatching(new RegExp(`^${path}: .* add up to 2\\^53 minor units or more`))]);
});

test('sums right below 2^53 are fine', () => {
  const { openingMinor, closingMinor, terms, ...bare } = valid;
  const lines = [
    { ...line, amountMinor: most - 1 },
    { ...line, id: 'b', amountMinor: 1 },
  ];
  expect(problemsOf({ ...bare, lines })).toEqual([]);
  expect(problemsOf({ ...bare, openingMinor: -most, closingMinor: -most, lines: [] })).toEqual([]);
});

test('all problems are listed at once', () => {
  const problems = problemsOf({ accountId: '', lines: [{ id: 'a', kind: 'x' }], terms: { fees: [{}] } });
  expect(problems.map((problem) => problem.split(':')[0])).toEqual([
    'period',
    'accountId',
    'holder',
    'currency',
    'lines[0].date',
    'lines[0].merchant',
    'lines[0].description',
    'lines[0].amountMinor',
    'lines[0].kind',
    'terms.fees[0].name',
    'terms.fees[0].maxMinor',
  ]);
});

test.each([[null], [undefined], [[]], ['{}'], [3]])('%j is no statement', (value) => {
  expect(problemsOf(value)).toEqual([expect.stringContaining('statement: ')]);
});

test('of many problems the first 100 are listed and the rest counted', () => {
  const result = parseStatement({ ...valid, lines: new Array(5000).fill(0) });
  const problems = 'problems' in result ? result.problems : [];
  expect(problems).toHaveLength(101);
  expect(problems.at(-1)).toEqual({ path: '…', message: 'and 4900 more' });
});

test('a value shown in a message is cut to a readable length', () => {
  const [problem] = problemsOf(statementWith('currency', 'E'.repeat(1_000_000)));
  expect(problem!.length).toBeLessThan(200);
});

test('nesting of any depth is survived', () => {
  const deep: unknown = JSON.parse('['.repeat(200_000) + ']'.repeat(200_000));
  expect(problemsOf(deep)).toHaveLength(1);
  expect(problemsOf(statementWith('lines.0.merchant', deep))).toHaveLength(1);
  expect(problemsOf(statementWith('unknown', deep))).toEqual([]);
});
