import { expect, test } from 'vitest';
import { redacted, redactedFacts } from './redact.ts';

test.each([
  ['Authorization: Bearer abc.def-ghi~jkl', 'abc.def'],
  ['got eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJl here', 'eyJ'],
  ['token dm_AbCdEfGhIjKlMnOpQrStUvWxYz012345 is wrong', 'AbCd'],
  ['secret whsec_AbCdEfGhIjKlMnOpQrSt+/==', 'AbCd'],
  ['webhook-signature v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=', 'K5oZ'],
  ['connect smtp://user:p@ss:word@mail.example:25 failed', 'p@ss'],
  ['GET https://bank.example/s.json?api_key=0123456789abcdef&x=1', '0123456789'],
  ['{"stateToken":"zzzzzzzzzzzz","other":1}', 'zzzz'],
  [JSON.stringify({ setting: '{"stateToken":"zzzzzzzzzzzz"}' }), 'zzzz'],
  ['CASEWORK_SMTP_PASSWORD=hunter2hunter2', 'hunter2'],
  ['550 <ada.lovelace+x@example.org>: no such user', 'lovelace'],
  ['ada@localhost is unknown', 'ada'],
  ['no SMS to +12025550100', '2025550100'],
  ['no SMS to +1 (202) 555-0100.', '555'],
  // Nothing beside it.
  ['Bearer abcdefgh', 'abcdefgh'],
  ['eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJl', 'eyJ'],
  ['whsec_AbCdEfGhIjKlMnOp', 'AbCd'],
  ['v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDNaHaAAAA', 'K5oZ'],
  ['smtp://user@mail', 'user'],
  ['secret:hunter2hunter2', 'hunter2'],
  ['ada@b', 'ada'],
  ['+12025550100', '202'],
])('%j does not show %j', (text, secret) => {
  expect(text).toContain(secret);
  expect(redacted(text)).not.toContain(secret);
});

test.each([
  'bank at http://127.0.0.1:4000 answered 503; try again later',
  'zod@4.6.7 and @dormouse/core in /srv/node_modules/@dormouse/core/src/step.ts:12:3',
  'the push carries no valid token of this system',
  'WF-20250129-7K3QXM at 2025-01-29T10:30:15.123+02:00: 12 + 30 = 42, -5 ms',
  'timer t+1 fired; sum is 1+2345678901',
])('what is no secret stays: %j', (text) => {
  expect(redacted(text)).toBe(text);
});

test('a field named as a secret is left out whole, at any depth; the rest stays what it was', () => {
  const circular: Record<string, unknown> = { id: 7 };
  circular.self = circular;
  expect(
    redactedFacts({
      adminToken: 'x',
      nested: [{ password: 1, count: 2, none: undefined }],
      to: 'ada@example.org',
      circular,
    }),
  ).toEqual({
    adminToken: '[redacted]',
    nested: [{ password: '[redacted]', count: 2, none: undefined }],
    to: '[email]',
    circular: { id: 7, self: '[circular]' },
  });
});

test.each(['a', 'eyJ-', 'eyJhbGciOi-', 'eyJhbGciOi', 'dm_', 'v1,', 'a@', 'token', '://'])(
  'a megabyte of "%s" is read in no time',
  (part) => {
    redacted(part.repeat(Math.ceil(1_000_000 / part.length)));
  },
);
