import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { intakeReasons, parseCaseRequest, requestForBareStatement } from './case-request.ts';

const samples = join(import.meta.dirname, '../samples');
const read = (name: string) => JSON.parse(readFileSync(join(samples, name), 'utf8'));
const valid = read('sample-case.json');
const statement = read('clean.json');

function reasonsFor(value: unknown): string[] {
  const result = parseCaseRequest(value);
  return 'request' in result ? intakeReasons(result.request) : result.problems.map(({ path }) => `malformed: ${path}`);
}

function problemsOf(value: unknown): string[] {
  const result = parseCaseRequest(value);
  return 'problems' in result ? result.problems.map(({ path, message }) => `${path}: ${message}`) : [];
}

test('a valid request comes back as it was, without what is not known', () => {
  expect(parseCaseRequest({ ...valid, colour: 'red' })).toEqual({ request: valid });
  expect(reasonsFor(valid)).toEqual([]);
});

test.each([
  ['missing-consent', ['consent to "fetch_statement" is missing', 'consent to "dispute_on_behalf" is missing']],
  ['missing-scope', ['consent to "dispute_on_behalf" is missing']],
  ['unpaid', ['payment is "pending"']],
  ['no-document', ['no document is given']],
  ['silent-counterparty', []],
  ['rejecting-counterparty', []],
  [
    'malformed',
    ['clientId', 'client.email', 'client.phone', 'documents[0].name', 'statement.period.from'].map(malformed),
  ],
])('the sample request %s is rejected for what it says', (name, reasons) => {
  expect(reasonsFor(read(`requests/${name}.json`))).toEqual(reasons.map((reason) => expect.stringContaining(reason)));
});

test.each<[name: string, parts: object, reasons: number]>([
  ['no payment', { payment: undefined }, 1],
  ['payment null', { payment: null }, 1],
  ['a payment of no status', { payment: {} }, 1],
  ['an unpaid payment without a reference', { payment: { status: 'unpaid' } }, 1],
  ['an empty consent', { consent: {} }, 2],
  ['a signature without scopes', { consent: { signedAt: '2025-01-01' } }, 2],
  ['no documents', { documents: undefined }, 1],
  ['nothing of all that', { documents: [], consent: null, payment: undefined }, 4],
])('%s is a reason to reject, not malformed', (_, parts, count) => {
  const reasons = reasonsFor({ ...valid, ...parts });
  expect(reasons.filter((reason) => reason.startsWith('malformed'))).toEqual([]);
  expect(reasons).toHaveLength(count);
});

const oneSource = 'statement: must be exactly one of source, url or inline';

test.each<[parts: object, problem: string]>([
  [
    { clientId: '' },
    'clientId: must be 1 to 128 letters, digits or any of _.~:-, and none of ".", ".." and "__…__", got a text of 0 characters',
  ],
  [
    { clientId: 'clara@home.example' },
    'clientId: must be 1 to 128 letters, digits or any of _.~:-, and none of ".", ".." and "__…__", got a text of 18 characters',
  ],
  [{ clientId: 'a'.repeat(129) }, 'clientId: must be 1 to 128'],
  [{ clientId: '../x' }, 'clientId: must be 1 to 128'],
  [{ clientId: 'a\n' }, 'clientId: must be 1 to 128'],
  [{ clientId: '..' }, 'clientId: must be 1 to 128'],
  [{ clientId: '__proto__' }, 'clientId: must be 1 to 128'],
  [{ client: undefined }, 'client: is missing: give an object'],
  [{ client: { ...valid.client, name: '' } }, 'client.name: must be a non-empty text'],
  [
    { client: { ...valid.client, email: 'clara' } },
    'client.email: must be an email address, name@host, got a text of 5 characters',
  ],
  [{ client: { ...valid.client, email: 'a@b\r\nBcc: c@d' } }, 'client.email: must be an email address'],
  [{ client: { ...valid.client, email: 'clara@clie#t.example' } }, 'client.email: must be an email address'],
  [{ client: { ...valid.client, email: 'clara@client\ufffdexample' } }, 'client.email: must be an email address'],
  [{ client: { ...valid.client, email: 'clara.@client.example' } }, 'client.email: must be an email address'],
  [{ client: { ...valid.client, phone: '+0123456789' } }, 'client.phone: must be a phone number'],
  [{ client: { ...valid.client, phone: '+123456' } }, 'client.phone: must be a phone number'],
  [{ client: { ...valid.client, phone: '+1234567890123456' } }, 'client.phone: must be a phone number'],
  [{ client: { ...valid.client, phone: '+45 32 12 34 56' } }, 'client.phone: must be a phone number'],
  [{ consent: 'yes' }, 'consent: must be an object, got "yes"'],
  [{ consent: { scopes: ['fetch_statement'] } }, 'consent.signedAt: is missing'],
  [{ consent: { ...valid.consent, signedAt: '2025-02-30T10:00:00Z' } }, 'consent.signedAt: must be a date'],
  [{ consent: { ...valid.consent, signedAt: '2025-02-03T25:00:00Z' } }, 'consent.signedAt: must be a date'],
  [{ consent: { ...valid.consent, signedAt: '2025-02-03T09:15' } }, 'consent.signedAt: must be a date'],
  [{ consent: { ...valid.consent, scopes: 'all' } }, 'consent.scopes: must be a list, got "all"'],
  [{ consent: { ...valid.consent, scopes: ['a', 1] } }, 'consent.scopes[1]: must be a non-empty text, got 1'],
  [{ payment: 'paid' }, 'payment: must be an object'],
  [{ payment: { status: 'paid' } }, 'payment.reference: is missing'],
  [{ payment: { reference: 'r', status: true } }, 'payment.status: must be a non-empty text, got true'],
  [{ documents: {} }, 'documents: must be a list'],
  [{ documents: [{ kind: 'id' }] }, 'documents[0].name: is missing'],
  [{ statement: undefined }, 'statement: is missing'],
  [{ statement: {} }, `${oneSource}, got none`],
  [{ statement: { ...valid.statement, url: 'https://bank.example' } }, `${oneSource}, got source and url`],
  [{ statement: { ...valid.statement, source: 'bank' } }, 'statement.source: must be "sandbox-bank", got "bank"'],
  [{ statement: { ...valid.statement, accountId: '' } }, 'statement.accountId: must be a non-empty text'],
  [
    { statement: { ...valid.statement, period: { from: '2025-02-01', to: '2025-01-01' } } },
    'statement.period.to: must not',
  ],
  [{ statement: { url: 'bank.example/1' } }, 'statement.url: must be a complete address'],
  [{ statement: { url: 'file:///etc/passwd' } }, 'statement.url: must begin with http: or https:, got "file:"'],
  [{ statement: { url: 'https://u:secret@bank.example' } }, 'statement.url: must not hold a user name or password'],
  [{ statement: { url: 7 } }, 'statement.url: must be a non-empty text, got 7'],
  [{ statement: { inline: [] } }, 'statement.inline: must be an object, got a list'],
  [{ statement: { inline: { ...statement, holder: '' } } }, 'statement.inline.holder: must be a non-empty text'],
  [{ sandbox: [] }, 'sandbox: must be an object'],
  [{ sandbox: { replies: { Shop: 'maybe' } } }, 'sandbox.replies.Shop: must be "accept" or "reject" or "silent"'],
])('%j is the one thing malformed', (parts, problem) => {
  const problems = problemsOf({ ...valid, ...parts });
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(problem);
  expect(problems[0]).not.toContain('secret');
});

test('all problems are listed at once, those of an inline statement too', () => {
  const inline = { ...statement, currency: 'x', lines: [{ ...statement.lines[0], amountMinor: 0 }] };
  const value = { ...valid, clientId: 3, statement: { inline }, sandbox: { replies: 1 } };
  expect(problemsOf(value).map((problem) => problem.split(':')[0])).toEqual([
    'clientId',
    'statement.inline.currency',
    'statement.inline.lines[0].amountMinor',
    'sandbox.replies',
  ]);
});

test.each([[null], ['x'], [[]]])('%j is no request', (value) => {
  expect(problemsOf(value)).toEqual([expect.stringContaining('request: must be an object')]);
});

test('a reply is kept for a merchant of any name', () => {
  const sandbox = JSON.parse('{"replies":{"__proto__":"reject","constructor":"silent","1":"accept"}}');
  const result = parseCaseRequest({ ...valid, sandbox });
  const replies = 'request' in result ? result.request.sandbox?.replies : {};
  expect(JSON.stringify(replies)).toBe('{"1":"accept","__proto__":"reject","constructor":"silent"}');
});

test('a bare statement becomes a request that intake accepts', () => {
  const request = requestForBareStatement(statement);
  expect(parseCaseRequest(JSON.parse(JSON.stringify(request)))).toEqual({ request });
  expect(intakeReasons(request)).toEqual([]);
});

function malformed(path: string): string {
  return `malformed: ${path}`;
}
