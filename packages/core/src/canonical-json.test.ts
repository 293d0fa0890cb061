import { expect, test } from 'vitest';
import { canonicalJson } from './canonical-json.ts';

test('the text of a value does not depend on the order of its members, at any depth', () => {
  const one = { b: [{ y: 1, x: null }], a: 'ä', 10: true, 9: false };
  const other = { 9: false, a: 'ä', 10: true, b: [{ x: null, y: 1 }] };
  expect(canonicalJson(one)).toBe('{"10":true,"9":false,"a":"ä","b":[{"x":null,"y":1}]}');
  expect(canonicalJson(other)).toBe(canonicalJson(one));
});

// Source: RFC 8785, 3.2.3.
test('members come in the order of the UTF-16 units of their names', () => {
  const names = ['\u20ac', '\r', '\ufb33', '1', '\ud83d\ude00', '\u0080', '\u00f6'];
  const sorted = ['\r', '1', '\u0080', '\u00f6', '\u20ac', '\ud83d\ude00', '\ufb33'];
  const text = canonicalJson(Object.fromEntries(names.map((name) => [name, 0])));
  expect(text).toBe(`{${sorted.map((name) => `${JSON.stringify(name)}:0`).join(',')}}`);
});

test('what differs has another text', () => {
  const texts = [[], {}, null, '', 0, false, [[]], [{}], { a: [] }, { a: {} }, ['a', 'b'], ['a,b']].map(canonicalJson);
  expect(new Set(texts).size).toBe(texts.length);
});
