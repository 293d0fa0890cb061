import protobuf from 'protobufjs';
import { expect, test } from 'vitest';
import type { Encoding } from './definition.ts';
import { ProtobufDefinition } from './protobuf.ts';

function why(definition: string, data: unknown, encoding: Encoding = 'JSON'): string {
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(typeof data === 'string' ? data : JSON.stringify(data));
  try {
    new ProtobufDefinition(definition).check(bytes, encoding);
    return 'good';
  } catch (error) {
    return (error as Error).message;
  }
}

const order = `
  syntax = "proto3";
  package shop.v1;
  message Order {
    string order_id = 1;
    repeated Line lines = 2;
    map<string, int64> prices = 3;
    oneof paid_by { string card = 4; bool cash = 5; }
    Color color = 6;
    bytes hash = 7;
    double weight = 8;
    repeated sint32 numbers = 9;
    optional fixed64 stamp = 10;
    map<int32, Line> by_number = 11;
    string label = 12 [json_name = "Etikett"];
    message Line { uint32 count = 1; Order of = 2; float price = 3; }
    enum Color { UNKNOWN = 0; RED = 1; }
  }`;

test.each([
  [{}, 'good'],
  [{ orderId: 'a', order_id: 'b' }, 'order_id: it is there twice, by both its names'],
  [{ order_id: 'a', lines: [{ count: 1 }, { count: '2', of: { orderId: 'x' } }] }, 'good'],
  [{ lines: [{ count: -1 }] }, 'lines[0].count: expected a uint32, got a number'],
  [{ lines: [null] }, 'lines[0]: expected an object of message Line, got null'],
  [{ lines: {} }, 'lines: expected a list, got an object'],
  [{ prices: { a: '9223372036854775807' } }, 'good'],
  [{ prices: { a: '9223372036854775808' } }, 'prices[a]: expected a int64, got a string'],
  ['{"prices":{"a":9223372036854775807}}', 'good'],
  ['{"prices":{"a":9223372036854775808}}', 'prices[a]: expected a int64, got a number'],
  [{ byNumber: { 1: {} } }, 'good'],
  [{ byNumber: { x: {} } }, 'byNumber: a key of it is no int32'],
  [{ card: 'x', cash: null }, 'good'],
  [{ card: 'x', cash: true }, 'cash: of oneof paid_by only one may be set, and card is'],
  [{ color: 'RED' }, 'good'],
  [{ color: 7 }, 'good'],
  [{ color: 'GREEN' }, 'color: expected a value of enum Color, got a string'],
  [{ hash: '-_8=' }, 'good'],
  [{ hash: 'a' }, 'hash: expected a bytes, got a string'],
  [{ weight: 'NaN' }, 'good'],
  [{ weight: '1.5e3' }, 'good'],
  [{ weight: '' }, 'weight: expected a double, got a string'],
  [{ lines: [{ price: 1e39 }] }, 'lines[0].price: expected a float, got a number'],
  [{ numbers: [1.0, '-2', 1e3] }, 'good'],
  [{ numbers: [1.5] }, 'numbers[0]: expected a sint32, got a number'],
  [{ stamp: '18446744073709551615' }, 'good'],
  [{ Etikett: 'a' }, 'good'],
  [{ label: 'a' }, 'good'],
  [{ amount: 1 }, 'amount: message Order has no such field'],
  ['{"__proto__":{}}', '__proto__: message Order has no such field'],
  [[], 'expected an object of message Order, got a list'],
  ['', 'the data is no JSON'],
])('in JSON, %j is %s', (data, verdict) => {
  expect(why(order, data)).toBe(verdict);
});

test('what protobufjs writes is taken; cut off it is not, unless at the end of a field', () => {
  const type = protobuf.parse(order, { keepCase: true }).root.resolveAll().lookupType('shop.v1.Order');
  const message = {
    order_id: 'é',
    lines: [{ count: 7, of: { order_id: 'inner', color: 1 }, price: 1.5 }],
    prices: { a: 1, b: 2 },
    cash: true,
    color: 5,
    hash: Buffer.from([0xff]),
    weight: 2.5,
    numbers: [1, -1, 300],
    stamp: 5,
    by_number: { 4: { count: 1 } },
  };
  const binary = Buffer.from(type.encode(message).finish());
  expect(why(order, binary, 'BINARY')).toBe('good');
  expect(why(order, Buffer.alloc(0), 'BINARY')).toBe('good');
  const fields = Object.keys(message).map((name) => ({ [name]: (message as Record<string, unknown>)[name] }));
  const ends = new Set([0]);
  for (const field of fields) ends.add([...ends].at(-1)! + type.encode(field).finish().length);
  // Of the map with two entries, each is a field of its own.
  ends.add([...ends][2]! + type.encode({ prices: { a: 1 } }).finish().length);
  const good = Array.from(binary.keys()).filter((end) => why(order, binary.subarray(0, end), 'BINARY') === 'good');
  expect(good).toEqual([...ends].filter((end) => end < binary.length).toSorted((a, b) => a - b));
});

test.each([
  ['a field that is not declared', '6801', 'message Order has no field of number 13'],
  ['another wire type', '0801', 'order_id: expected wire type 2, got 0'],
  ['a list that is not packed', '48024804', 'good'],
  ['a string that is no UTF-8', '0a01ff', 'order_id: expected a string in UTF-8'],
  ['a length beyond the end', '0a05', 'order_id: the data ends within it'],
  ['an entry of a map without a key', '1a021005', 'good'],
  ['an entry of a map with more', '1a021805', 'prices: an entry of a map has no field of number 3'],
  ['a group that ends where none began', '0c', 'order_id: expected wire type 2, got 4'],
  ['half a tag', 'ffff', 'the data ends within a field'],
  ['number 0', '0001', 'message Order has no field of number 0'],
])('in binary, %s (%s) is %s', (_what, hex, verdict) => {
  expect(why(order, Buffer.from(hex, 'hex'), 'BINARY')).toBe(verdict);
});

const proto2 = `
  message Old {
    required string id = 1;
    optional Kind kind = 2;
    repeated group Part = 3 { required int32 n = 4; }
    enum Kind { A = 0; B = 5; }
  }`;

test.each([
  [{ id: 'a' }, 'good'],
  [{}, 'id: it is missing, and required'],
  [{ id: null }, 'id: it is missing, and required'],
  [{ id: 'a', kind: 5 }, 'good'],
  [{ id: 'a', kind: 3 }, 'kind: expected a value of enum Kind, got a number'],
])('of proto2, %j is %s', (data, verdict) => {
  expect(why(proto2, data)).toBe(verdict);
});

test.each([
  ['0a0161', 'good'],
  ['1005', 'id: it is missing, and required'],
  ['0a01611003', 'kind: enum Kind has no value of number 3'],
  ['0a01611b20011c', 'good'],
  ['0a01611b1c', 'part.n: it is missing, and required'],
  ['0a01611b2001', 'part: the data ends within the group'],
])('of proto2, the bytes %s are %s', (hex, verdict) => {
  expect(why(proto2, Buffer.from(hex, 'hex'), 'BINARY')).toBe(verdict);
});

test('a message nested without end is refused, not a stack overflow', () => {
  const list = 'syntax = "proto3"; message L { L next = 1; }';
  expect(why(list, `${'{"next":'.repeat(50_000)}{}${'}'.repeat(50_000)}`)).toContain('nests deeper');
  let bytes = Buffer.alloc(0);
  for (let depth = 0; depth < 150; depth++) {
    const header = protobuf.Writer.create().uint32(0x0a).uint32(bytes.length).finish();
    bytes = Buffer.concat([header, bytes]);
  }
  expect(why(list, bytes, 'BINARY')).toContain('nests deeper');
});

test('edition 2023 is read too', () => {
  const definition = 'edition = "2023"; message A { string a = 1; B b = 2; enum B { X = 0; } }';
  expect(why(definition, { a: 'x', b: 9 })).toBe('good');
});

test.each([
  ['', 'it has none'],
  ['syntax = "proto3"; enum E { A = 0; }', 'it has E'],
  ['syntax = "proto3"; message A {} enum E { X = 0; }', 'it has A, E'],
  ['syntax = "proto3"; import public "a.proto"; message A {}', 'it imports "a.proto"'],
  ['syntax = "proto3"; message A { required int32 a = 1; }', 'required'],
  ['syntax = "proto3"; message A { int32 a = 0; }', 'a: a field'],
  ['syntax = "proto3"; message A { int32 a = 19500; }', 'got 19500'],
  ['syntax = "proto3"; message A { int32 a = 1; int32 b = 1; }', 'duplicate id'],
  ['syntax = "proto3"; message A { Missing a = 1; }', 'Missing'],
  ['syntax = "proto9"; message A {}', 'proto9'],
  ['syntax = "proto3"; message A { int32 __proto__ = 1; }', '__proto__'],
  [`syntax = "proto3"; ${'message A {'.repeat(1000)}${'}'.repeat(1000)}`, 'depth'],
])('the definition %j is refused: %s', (definition, because) => {
  expect(() => new ProtobufDefinition(definition)).toThrow(because);
});

test.each([
  ['string a = 1;', 'string a = 1; int32 b = 2;', 'good'],
  ['string a = 1; int32 b = 2;', 'string a = 1;', 'good'],
  ['string a = 1;', 'int32 a = 1;', 'a: int32 is not compatible with string'],
  ['string a = 1;', 'repeated string a = 1;', 'a: repeated string is not compatible with string'],
  ['string a = 1;', 'string b = 1;', 'b: number 1 was a before; take another number'],
  ['string a = 1;', 'string a = 2;', 'a: its number was 1 before, and must stay'],
  [
    'map<string, int32> a = 1;',
    'map<string, int64> a = 1;',
    'a: map<string, int64> is not compatible with map<string, int32>',
  ],
  [
    'N a = 1; message N { int32 x = 1; }',
    'N a = 1; message N { bool x = 1; }',
    'a.x: bool is not compatible with int32',
  ],
  ['M a = 1;', 'M a = 1; string b = 2;', 'good'],
  [
    'string a = 1; string b = 2;',
    'oneof c { string a = 1; string b = 2; }',
    'a: string of oneof c is not compatible with string',
  ],
])('a revision of { %s } that is { %s } is %s', (older, newer, verdict) => {
  const [one, other] = [newer, older].map(
    (fields) => new ProtobufDefinition(`syntax = "proto3"; message M { ${fields} }`),
  );
  let told = 'good';
  try {
    one!.checkRevises(other!);
  } catch (error) {
    told = (error as Error).message;
  }
  expect(told).toBe(verdict);
});

test('a required field of proto2 neither comes nor goes', () => {
  const [one, other] = ['', 'required int32 b = 2;'].map(
    (more) => new ProtobufDefinition(`message M { optional int32 a = 1; ${more} }`),
  );
  expect(() => one!.checkRevises(other!)).toThrow('b: a required field cannot be taken away');
  expect(() => other!.checkRevises(one!)).toThrow('b: a required field cannot be added');
});
