import { expect, test } from 'vitest';
import { failingClause, parseFilter } from './filter.ts';

test.each([
  ['attributes:a', { a: '' }, true],
  ['attributes:a', { b: '1' }, false],
  ['attributes.a = "x"', { a: 'x' }, true],
  ['attributes.a="x"', { a: 'y' }, false],
  ['attributes.a = "x"', {}, false],
  ['attributes.a != "x"', { a: 'y' }, true],
  ['attributes.a != "x"', {}, true],
  ['hasPrefix(attributes.a, "pre")', { a: 'prefix' }, true],
  ['hasPrefix(attributes.a, "pre")', { a: 'nope' }, false],
  ['hasPrefix(attributes.a, "")', {}, false],
  ['NOT attributes:a', {}, true],
  ['-attributes:a', { a: '1' }, false],
  ['NOT NOT attributes:a', { a: '1' }, true],
  ['attributes:a AND attributes:b', { a: '1', b: '1' }, true],
  ['attributes:a AND attributes:b', { a: '1' }, false],
  ['attributes:a OR attributes:b OR attributes:c', { c: '1' }, true],
  ['(attributes:a OR attributes:b) AND NOT attributes:c', { a: '1' }, true],
  ['(attributes:a OR attributes:b) AND NOT attributes:c', { a: '1', c: '1' }, false],
  ['attributes."odd key" = "v"', { 'odd key': 'v' }, true],
  ['attributes:"ключ"', { ключ: '' }, true],
  ['attributes.a = "say \\"hi\\" \\\\"', { a: 'say "hi" \\' }, true],
  ['NOT attributes:dormouse-to OR attributes.dormouse-to = "a.b"', { 'dormouse-to': 'a.b' }, true],
  ['NOT attributes:dormouse-to OR attributes.dormouse-to = "a.b"', { 'dormouse-to': 'a.c' }, false],
  ['attributes:constructor', {}, false],
  ['   ', {}, true],
])('%s on %j is %s', (filter, attributes, expected) => {
  expect(parseFilter(filter)(attributes as Record<string, string>)).toBe(expected);
});

test.each([
  ['nonsense((', /at 0: expected attributes/],
  ['attributes', /at 10: expected : or \./],
  ['attributes.a', /at 12: expected = or !=, found the end/],
  ['attributes.a = x', /at 15: expected a string in double quotes, found "x"/],
  ['attributes.a = "x', /at 15: """ does not belong here/],
  ['attributes:a AND', /at 16: expected attributes/],
  ['attributes:a and attributes:b', /at 13: expected AND, OR or the end, found "and"/],
  ['attributes:a AND attributes:b OR attributes:c', /at 30: AND and OR cannot be mixed/],
  ['(attributes:a', /expected \), found the end/],
  ['attributes:a)', /expected AND, OR or the end/],
  ['hasPrefix(attributes.a "x")', /expected ,/],
  ['attributes.a > "x"', /at 13: ">" does not belong here/],
  ['attributes:a; drop table', /at 12: ";" does not belong here/],
  [`attributes:${'a'.repeat(246)}`, /257 bytes; at most 256/],
])('%s is refused, with the place and what was expected', (filter, message) => {
  expect(() => parseFilter(filter)).toThrow(message);
});

test.each([
  ['attributes.a = "x" AND (attributes:b OR attributes:c)', { a: 'x' }, 'attributes:b OR attributes:c'],
  ['attributes.a = "x" AND (attributes:b OR attributes:c)', { b: '' }, 'attributes.a = "x"'],
  [
    'NOT attributes:a AND (attributes:b AND  -hasPrefix(attributes."b", "q"))',
    { b: 'qu' },
    '-hasPrefix(attributes."b", "q")',
  ],
  ['(attributes:a)', {}, 'attributes:a'],
  ['attributes:a', { a: '' }, undefined],
  ['', {}, undefined],
])('%s leaves out %j by %s', (filter, attributes, clause) => {
  expect(failingClause(parseFilter(filter), attributes as Record<string, string>)).toBe(clause);
});
