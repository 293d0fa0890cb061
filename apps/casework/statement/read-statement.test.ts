import { expect, test } from 'vitest';
import { isBareStatement, parseJson, readStatement } from './read-statement.ts';

const csv = 'id,date,merchant,description,amountMinor,kind\na,2025-01-20,Shop,Tea,300,charge\n';
const json = JSON.stringify({
  accountId: 'acc-1',
  holder: 'Ada',
  currency: 'JPY',
  period: { from: '2025-01-01', to: '2025-01-31' },
  lines: [],
});

test.each([
  ['JSON', json, 'statement.json'],
  ['JSON whatever it is called', json, 'statement.csv'],
  ['JSON after a BOM and blank lines', `\uFEFF\r\n ${json.replaceAll(',', ',\r\n')}`, 'export'],
])('%s is read as JSON', (_, text, fileName) => {
  expect(readStatement(text, { fileName })).toMatchObject({ statement: { accountId: 'acc-1', currency: 'JPY' } });
});

test.each([
  ['card 7.csv', 'card 7'],
  ['/home/ada/exports.2025/card.01.csv', 'card.01'],
  ['C:\\exports\\card.csv', 'card'],
  ['.csv', '.csv'],
  ['card', 'card'],
])('a CSV called %s is of account %s', (fileName, accountId) => {
  expect(readStatement(csv, { fileName })).toMatchObject({ statement: { accountId, currency: 'EUR' } });
});

test('a CSV is in the currency it is said to be in', () => {
  expect(readStatement(csv, { fileName: 'card.csv', currency: 'KWD' })).toMatchObject({
    statement: { currency: 'KWD' },
  });
});

test.each([
  ['{"a": xyz}', 'line 1, column 7', "Unexpected token 'x'"],
  ['{"a": 1,\n "b": 2,\r\n}', 'line 3, column 1', 'Expected double-quoted property name'],
  ['{"a": 1', 'line 1, column 8', "Expected ',' or '}' after property value"],
  ['[1, 2] 3', 'line 1, column 8', 'Unexpected non-whitespace character after JSON'],
  ['{"a":\n\n', 'line 3, column 1', 'Unexpected end of JSON input'],
  ['{"a": "x\ty"}', 'line 1, column 9', 'Bad control character in string literal'],
])('%j is malformed JSON, and where', (text, path, message) => {
  expect(parseJson(text)).toEqual({ problems: [{ path, message: `malformed JSON: ${message}` }] });
});

test('the message on malformed JSON repeats nothing of it but the token', () => {
  expect(JSON.stringify(parseJson('{"holder": "Ada Secret", "lines": oops}'))).not.toContain('Secret');
});

test('a file called .json that is none is malformed JSON, not a CSV', () => {
  expect(readStatement('oops', { fileName: 'statement.json' })).toMatchObject({
    problems: [{ path: 'line 1, column 1' }],
  });
});

test.each([
  [{ accountId: 'a', holder: 'b', lines: [] }, true],
  [{ lines: 'oops' }, true],
  [{ clientId: 'c', statement: { inline: {} } }, false],
  [{ clientId: 'c', period: {} }, false],
  [{}, false],
  [[], false],
  [null, false],
  ['lines', false],
])('%j being a bare statement is %s', (value, isBare) => {
  expect(isBareStatement(value)).toBe(isBare);
});
