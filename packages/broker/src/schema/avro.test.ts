import avsc from 'avsc';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AvroDefinition } from './avro.ts';
import type { Encoding } from './definition.ts';

const record = (name: string, ...fields: readonly object[]) => ({ type: 'record', name, fields });

function why(schema: unknown, data: unknown, encoding: Encoding = 'JSON'): string {
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(typeof data === 'string' ? data : JSON.stringify(data));
  try {
    new AvroDefinition(JSON.stringify(schema)).check(bytes, encoding);
    return 'good';
  } catch (error) {
    return (error as Error).message;
  }
}

test.each([
  ['null', 'null', 'good'],
  ['null', '0', 'expected null, got a number'],
  ['boolean', 'true', 'good'],
  ['int', '2147483647', 'good'],
  ['int', '-2147483648', 'good'],
  ['int', '2147483648', 'expected a whole number of 32 bits, got a number'],
  ['int', '1.5', 'expected a whole number of 32 bits, got a number'],
  ['int', '"1"', 'expected a whole number of 32 bits, got a string'],
  ['long', '9223372036854775807', 'good'],
  ['long', '-9223372036854775808', 'good'],
  ['long', '9223372036854775808', 'expected a whole number of 64 bits, got a number'],
  ['double', '1e300', 'good'],
  ['double', '12345678901234567890', 'good'],
  ['string', '"é"', 'good'],
  ['bytes', '"\\u00ff"', 'good'],
  ['bytes', '"\\u0100"', 'expected a string of characters up to \\u00ff, got a string'],
  ['string', '{', 'the data is no JSON'],
  ['string', '', 'the data is no JSON'],
])('of type %s, %s is %s', (type, data, verdict) => {
  expect(why(type, data)).toBe(verdict);
});

const user = record(
  'User',
  { name: 'id', type: { type: 'string', logicalType: 'uuid' } },
  { name: 'email', type: ['null', 'string'], default: null },
);

test.each([
  [{ id: 'a', email: null }, 'good'],
  [{ id: 'a', email: { string: 'x' } }, 'good'],
  [{ id: 'a', email: 'x' }, 'email: expected null or {"string": …}, got a string'],
  [{ id: 'a', email: { string: 1 } }, 'email.string: expected a string, got a number'],
  [{ id: 'a', email: { string: 'x', null: null } }, 'email: expected null or {"string": …}, got an object'],
  [{ id: 'a' }, 'email: it is missing'],
  [{ id: 'a', email: null, age: 1 }, 'age: record User has no such field'],
  [[], 'expected an object of record User, got a list'],
])('a union is tagged, and what is declared is there and nothing else: %j is %s', (data, verdict) => {
  expect(why(user, data)).toBe(verdict);
});

test('named types are found by name in their namespace, and may hold themselves', () => {
  const tree = {
    ...record(
      'Tree',
      { name: 'color', type: { type: 'enum', name: 'Color', symbols: ['RED', 'BLACK'] } },
      { name: 'again', type: 'Color' },
      { name: 'hash', type: { type: 'fixed', name: 'other.Hash', size: 2 } },
      { name: 'children', type: { type: 'array', items: ['com.example.Tree'] } },
      { name: 'notes', type: { type: 'map', values: 'other.Hash' } },
    ),
    namespace: 'com.example',
  };
  const leaf = { color: 'RED', again: 'BLACK', hash: 'ab', children: [], notes: {} };
  const whole = { ...leaf, children: [{ 'com.example.Tree': leaf }], notes: { a: 'cd' } };
  expect(why(tree, whole)).toBe('good');
  expect(why(tree, { ...whole, children: [{ Tree: leaf }] })).toMatch(/^children\[0\]: expected {"com.example.Tree"/);
  expect(why(tree, { ...leaf, again: 'GREEN' })).toBe(
    'again: expected a symbol of enum com.example.Color, got a string',
  );
  expect(why(tree, { ...leaf, notes: { a: 'abc' } })).toBe('notes[a]: expected a string of 2 bytes, got a string');
});

test.each([
  ['{', 'no JSON'],
  ['"Missing"', 'there is no type "Missing"'],
  [{ type: 'record', fields: [] }, 'needs a name'],
  [record('a-b'), '"a-b" is no name'],
  [record('string'), "Avro's own"],
  [record('R', { name: 'a', type: 'int' }, { name: 'a', type: 'int' }), 'record "R" has "a" twice'],
  [record('R', { name: 'a', type: record('R') }), 'a: there are two types "R"'],
  [record('R', { name: 'a' }), '"type" is missing'],
  [['int', 'null', 'int'], 'a union has "int" twice'],
  [['int', ['null']], 'a union cannot hold a union'],
  [{ type: 'enum', name: 'E', symbols: ['A', 'A'] }, 'enum "E" has "A" twice'],
  [{ type: 'enum', name: 'E', symbols: ['1'] }, 'no symbol'],
  [{ type: 'fixed', name: 'F', size: -1 }, 'size'],
  [JSON.parse(`${'{"type":"array","items":'.repeat(200)}"int"${'}'.repeat(200)}`), 'nests deeper'],
])('the definition %j is refused: %s', (schema, because) => {
  const text = typeof schema === 'string' ? schema : JSON.stringify(schema);
  expect(() => new AvroDefinition(text)).toThrow(because);
});

describe('beside avsc', () => {
  const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 4 });
  const { schema: schemas } = fc.letrec<{ schema: unknown }>((tie) => ({
    schema: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      fc.constantFrom('null', 'boolean', 'int', 'float', 'double', 'bytes', 'string'),
      fc.record({ type: fc.constant('array'), items: tie('schema') }),
      fc.record({ type: fc.constant('map'), values: tie('schema') }),
      fc.record({ type: fc.constant('enum'), symbols: fc.constantFrom(['A'], ['A', 'B', 'C']) }),
      fc.record({ type: fc.constant('fixed'), size: fc.integer({ min: 0, max: 5 }) }),
      fc
        .tuple(names, fc.array(tie('schema'), { minLength: 4, maxLength: 4 }))
        .map(([fields, types]) => ({ type: 'record', fields: fields.map((name, i) => ({ name, type: types[i] })) })),
      fc
        .uniqueArray(fc.constantFrom('null', 'string', 'int', 'bytes', 'array'), { minLength: 1 })
        .map((list) => list.map((each) => (each === 'array' ? { type: 'array', items: 'int' } : each))),
    ),
  }));
  const arbitrary = schemas.map((schema) => {
    let count = 0;
    const name = (each: unknown): unknown => {
      if (Array.isArray(each)) return each.map(name);
      if (typeof each !== 'object' || each === null) return each;
      const inner = Object.fromEntries(
        Object.entries(each).map(([key, value]) => [key, key === 'symbols' ? value : name(value)]),
      );
      // Of such avsc builds as many as the data says.
      if (inner.type === 'array' && takesNoSpace(inner.items)) inner.items = 'int';
      return ['record', 'enum', 'fixed'].includes(inner.type as string) ? { name: `N${count++}`, ...inner } : inner;
    };
    return name(schema);
  });
  const takesNoSpace = (each: unknown): boolean => {
    const { type, size, fields = [] } = each as { type?: string; size?: number; fields?: { type: unknown }[] };
    return each === 'null' || size === 0 || (type === 'record' && fields.every((field) => takesNoSpace(field.type)));
  };
  const typeOf = (schema: unknown) => avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true });

  test('what it writes is taken, in binary and JSON; cut off, or with a byte more, it is not', () => {
    fc.assert(
      fc.property(arbitrary, (schema) => {
        const type = typeOf(schema);
        const value = type.random();
        const binary = type.toBuffer(value);
        expect(why(schema, binary, 'BINARY')).toBe('good');
        expect(why(schema, type.toString(value))).toBe('good');
        expect(why(schema, Buffer.concat([binary, Buffer.from([0])]), 'BINARY')).toContain('bytes are left');
        if (binary.length > 0) expect(why(schema, binary.subarray(0, -1), 'BINARY')).not.toBe('good');
      }),
      { numRuns: 500 },
    );
  });

  test('what it cannot read is not taken', () => {
    fc.assert(
      fc.property(arbitrary, fc.uint8Array({ maxLength: 12 }), (schema, bytes) => {
        if (why(schema, Buffer.from(bytes), 'BINARY') !== 'good') return;
        expect(() => typeOf(schema).fromBuffer(Buffer.from(bytes))).not.toThrow();
      }),
      { numRuns: 2000 },
    );
  });
});

test.each([
  ['long', Buffer.from('ffffffffffffffffff01', 'hex'), 'good'],
  ['long', Buffer.from('ffffffffffffffffff02', 'hex'), 'expected a whole number of 64 bits'],
  ['long', Buffer.alloc(11, 0xff), 'expected a whole number of 64 bits'],
  ['int', Buffer.from('8080808010', 'hex'), 'expected a whole number of 32 bits'],
  ['string', Buffer.from([2, 0xff]), 'expected a string in UTF-8'],
  ['string', Buffer.from([1]), 'a length or an index is negative'],
  [{ type: 'array', items: 'null' }, Buffer.from('feffffffffffffffff0100', 'hex'), 'good'],
  [{ type: 'array', items: 'int' }, Buffer.from([3, 4, 2, 2, 0]), 'good'],
  ['boolean', Buffer.from([2]), 'expected a boolean'],
])('of type %j, the bytes %o are %s', (type, bytes, verdict) => {
  expect(why(type, bytes, 'BINARY')).toBe(verdict);
});

test('a message nested without end is refused, not a stack overflow', () => {
  const list = record('L', { name: 'next', type: ['null', 'L'] });
  const deep = `${'{"next":{"L":'.repeat(50_000)}{"next":null}${'}}'.repeat(50_000)}`;
  expect(why(list, deep)).toContain('nests deeper');
  expect(why(list, Buffer.alloc(100_000, 2), 'BINARY')).toContain('nests deeper');
});

describe('a revision', () => {
  const of = (...fields: readonly object[]) => record('R', ...fields);
  const a = { name: 'a', type: 'int' };
  const cases: readonly (readonly [unknown, unknown, string])[] = [
    [of(a), of(a), 'good'],
    [of(a), of(a, { name: 'b', type: 'string', default: '' }), 'good'],
    [of(a), of(a, { name: 'b', type: 'string' }), 'b: a field that is not in both needs a default'],
    [
      of(a, { name: 'b', type: 'string' }),
      of(a),
      'the older could not read messages of the newer: b: a field that is not in both needs a default',
    ],
    [of(a), of({ name: 'a', type: 'string' }), 'a: int became string'],
    // A long does not go into an int.
    [of(a), of({ name: 'a', type: 'long' }), 'the older could not read messages of the newer: a: long became int'],
    [of({ name: 'a', type: 'string' }), of({ name: 'a', type: 'bytes' }), 'good'],
    [of({ name: 'a', type: ['null', 'int'] }), of({ name: 'a', type: ['int', 'null'] }), 'good'],
    [
      of({ name: 'a', type: ['null', 'int'] }),
      of({ name: 'a', type: ['null', 'string'] }),
      'a: int is in no branch of the union',
    ],
    [of({ name: 'a', type: ['null', 'int'] }), of(a), 'a: null became int'],
    [record('R'), record('S'), 'record R became record S'],
    [record('x.R'), record('y.R'), 'good'],
    [
      { type: 'enum', name: 'E', symbols: ['A'] },
      { type: 'enum', name: 'E', symbols: ['A', 'B'] },
      'the older could not read messages of the newer: enum E lacks B, and has no default',
    ],
    [
      { type: 'enum', name: 'E', symbols: ['A'], default: 'A' },
      { type: 'enum', name: 'E', symbols: ['A', 'B'], default: 'A' },
      'good',
    ],
    [{ type: 'fixed', name: 'F', size: 1 }, { type: 'fixed', name: 'F', size: 2 }, 'the size of F went from 1 to 2'],
    [{ type: 'array', items: 'int' }, { type: 'array', items: 'string' }, '[]: int became string'],
    [of({ name: 'r', type: ['null', 'R'] }), of({ name: 'r', type: ['null', 'R'] }), 'good'],
  ];
  test.each(cases)('of %j that is %j is %s', (older, newer, verdict) => {
    const [one, other] = [newer, older].map((each) => new AvroDefinition(JSON.stringify(each)));
    let told = 'good';
    try {
      one!.checkRevises(other!);
    } catch (error) {
      told = (error as Error).message;
    }
    expect(told).toBe(verdict);
  });

  test('with unions in unions’ branches takes no exponential time', () => {
    const nested = (depth: number): unknown =>
      depth === 0
        ? { type: 'fixed', name: `F${Math.random().toString(36).slice(2)}`, size: 1 }
        : ['x', 'y'].map((namespace) => ({
            ...record(`R${depth}`, { name: 'f', type: nested(depth - 1) }),
            namespace: `${namespace}${Math.random().toString(36).slice(2)}`,
          }));
    const [one, other] = [nested(8), nested(8)].map((each) => new AvroDefinition(JSON.stringify(each)));
    expect(() => one!.checkRevises(other!)).toThrow();
  });
});
