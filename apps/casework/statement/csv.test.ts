import { expect, test } from 'vitest';
import { parseStatementCsv } from './csv.ts';

const header = 'id,date,merchant,description,amountMinor,kind';

function parse(text: string) {
  return parseStatementCsv(text, { accountId: 'acc-1', currency: 'EUR' });
}

function linesOf(text: string) {
  const result = parse(text);
  return 'statement' in result ? result.statement.lines : result.problems;
}

function problemsOf(text: string): string[] {
  const result = parse(text);
  return 'problems' in result ? result.problems.map(({ path, message }) => `${path}: ${message}`) : [];
}

test('a statement comes out of the six columns, its period from first to last date', () => {
  const text = `${header}\na,2025-01-20,Shop,Tea,300,charge\nb,2025-01-03,Bank,,25,fee\n`;
  expect(parse(text)).toEqual({
    statement: {
      accountId: 'acc-1',
      holder: 'acc-1',
      currency: 'EUR',
      period: { from: '2025-01-03', to: '2025-01-20' },
      lines: [
        { id: 'a', date: '2025-01-20', merchant: 'Shop', description: 'Tea', amountMinor: 300, kind: 'charge' },
        { id: 'b', date: '2025-01-03', merchant: 'Bank', description: '', amountMinor: 25, kind: 'fee' },
      ],
    },
  });
});

const plain = linesOf(`${header}\na,2025-01-20,Shop,Tea,300,charge`);

test.each([
  ['a BOM', `\uFEFF${header}\na,2025-01-20,Shop,Tea,300,charge`],
  ['CRLF', `${header}\r\na,2025-01-20,Shop,Tea,300,charge\r\n`],
  ['CR alone', `${header}\ra,2025-01-20,Shop,Tea,300,charge\r`],
  ['blank lines', `\n${header}\n\n\r\na,2025-01-20,Shop,Tea,300,charge\n\n`],
  ['columns in another order', 'kind,amountMinor,description,merchant,date,id\ncharge,300,Tea,Shop,2025-01-20,a'],
  ['further columns', 'x,id,date,merchant,description,amountMinor,kind,\n1,a,2025-01-20,Shop,Tea,300,charge,'],
  ['quotes around everything', `"${header.replaceAll(',', '","')}"\n"a","2025-01-20","Shop","Tea","300","charge"`],
  ['blanks around the column names', `${header.replaceAll(',', ' , ')}\na,2025-01-20,Shop,Tea,300,charge`],
])('%s makes no difference', (_, text) => {
  expect(linesOf(text)).toEqual(plain);
});

test('quotes hold commas, doubled quotes and line breaks, and blanks are kept', () => {
  const lines = linesOf(
    `${header}\r\na,2025-01-20,"Al's ""Best"", Ltd","one\r\ntwo\n",300,charge\r\nb,2025-01-20, Shop ,"",1,fee`,
  );
  expect(lines).toMatchObject([
    { merchant: 'Al\'s "Best", Ltd', description: 'one\r\ntwo\n' },
    { merchant: ' Shop ', description: '' },
  ]);
});

test('problems name the line they are on, also after line breaks in quotes', () => {
  const text = `${header}\na,2025-01-20,"Shop\r\n\nShop",Tea,300,charge\nb,2025-02-30,Shop,Tea,12.50,debit\na,2025-01-01,,x,1,fee`;
  expect(problemsOf(text)).toEqual([
    'line 5.date: must be a real date as YYYY-MM-DD, got "2025-02-30"',
    'line 5.amountMinor: must be a whole number of minor units from 1 to 2^53 - 1 (12.30 is 1230), got "12.50"',
    'line 5.kind: must be "charge" or "fee" or "refund" or "payment", got "debit"',
    'line 6.id: must be unique, "a" is also that of line 2: give each line an id of its own',
    'line 6.merchant: must be a non-empty text, got ""',
  ]);
});

test.each(['-300', '+300', '3e2', '0x10', '1 000', '', '0', '9007199254740992', '٣'])('%j is no amount', (amount) => {
  expect(problemsOf(`${header}\na,2025-01-20,Shop,Tea,${amount},charge`)).toEqual([
    expect.stringContaining('line 2.amountMinor: must be a whole number'),
  ]);
});

test.each<[name: string, text: string, problems: string[]]>([
  ['an empty text', '', ['id', 'date', 'merchant', 'description', 'amountMinor', 'kind'].map(missing)],
  ['a column that is missing', 'id,Date,merchant,description,amountMinor,kind\n', [missing('date')]],
  ['a column that is there twice', `${header},id\n`, ['line 1: column "id" stands there 2 times']],
  ['no lines', `${header}\n`, ['line 2: is missing: give at least one line']],
  ['too few values', `${header}\na,2025-01-20,Shop`, ['line 2: must have a value for each of the 6 columns, got 3']],
  [
    'too many values',
    `${header}\na,2025-01-20,Sh,op,,1,fee`,
    ['line 2: must have a value for each of the 6 columns, got 7'],
  ],
  ['a quote inside', `${header}\na,2025-01-20,The "Shop",,1,fee`, ['line 2: has a quote inside "The \\"Shop\\""']],
  ['text after a quote', `${header}\na,2025-01-20,"Shop" x,,1,fee`, ['line 2: has " x" after a closing quote']],
])('%s is a problem', (_, text, problems) => {
  expect(problemsOf(text)).toEqual(problems.map((problem) => expect.stringContaining(problem)));
});

test('a quote that is never closed is a problem of the line where it opens', () => {
  expect(problemsOf(`${header}\na,2025-01-20,Shop,"Tea,1,fee\nb,2025-01-20,Shop,Tea,1,fee\n`)).toEqual([
    expect.stringContaining('line 2: has a quote that is never closed'),
    expect.stringContaining('line 2: must have a value for each of the 6 columns, got 4'),
  ]);
});

test('a currency that is not known is a problem', () => {
  const result = parseStatementCsv(`${header}\na,2025-01-20,Shop,Tea,3,fee`, { accountId: 'acc-1', currency: 'euro' });
  expect(result).toMatchObject({ problems: [{ path: 'currency' }] });
});

function missing(column: string): string {
  return `line 1: column "${column}" is missing`;
}
