import fc from 'fast-check';

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

const deep = 5_000;

/** What stands where something else is expected. */
const oddValues: readonly Json[] = [
  null,
  true,
  0,
  -1,
  0.1,
  Number.MAX_SAFE_INTEGER + 1,
  -Number.MAX_VALUE,
  '',
  ' ',
  'null',
  '0',
  '2025-02-30',
  '9999999999-01-01',
  'x'.repeat(100_000),
  '\u0000',
  '\ud800',
  '\u202e\u2066abc',
  '👩‍👩‍👧‍👦'.repeat(100),
  'Ａ\u0301\u0301\u0301\u0301',
  '__proto__',
  "'; DROP TABLE document; --",
  '../../../../etc/passwd',
  '%00%2e%2e%2f',
  '<script>alert(1)</script>',
  [],
  {},
  [null],
  [[[]]],
  { constructor: { prototype: { polluted: true } } },
  Array.from({ length: 2_000 }, (_, index) => index),
];

const oddNames = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', '', '\u0000', '\ud800', 'a/b~c'];

/** A JSON text of a sample with something wrong, or merely unusual, about its tree. */
export function mutatedJson(samples: readonly Json[]): fc.Arbitrary<string> {
  const change = fc.record({
    place: fc.nat(),
    kind: fc.constantFrom('remove', 'replace', 'replace', 'rename', 'duplicate', 'repeat', 'nest', 'polluted'),
    value: fc.oneof(fc.constantFrom(...oddValues), fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>),
    name: fc.constantFrom(...oddNames),
  });
  return fc
    .record({ sample: fc.constantFrom(...samples), changes: fc.array(change, { minLength: 1, maxLength: 3 }) })
    .map(({ sample, changes }) => changes.reduce(changed, JSON.stringify(sample)));
}

interface Change {
  readonly place: number;
  readonly kind: string;
  readonly value: Json;
  readonly name: string;
}

/** Works on the text of one member, so that what no JSON value can hold (a name twice, `__proto__`) can be written too. */
function changed(text: string, { place, kind, value, name }: Change): string {
  const members = [...text.matchAll(/"(?:[^"\\]|\\.)*":(?:"(?:[^"\\]|\\.)*"|-?[\d.e+]+|true|false|null)/g)];
  const member = members[place % Math.max(1, members.length)];
  if (!member) return text;
  const [whole] = member;
  const colon = whole.indexOf('":') + 1;
  const [key, old] = [whole.slice(0, colon), whole.slice(colon + 1)];
  const odd = JSON.stringify(value);
  const instead: Record<string, string> = {
    remove: '"removed":0',
    replace: `${key}:${odd}`,
    rename: `${JSON.stringify(name)}:${old}`,
    duplicate: `${whole},${key}:${odd}`,
    repeat: `${key}:[${Array.from({ length: 1_000 }, () => old).join(',')}]`,
    nest: `${key}:${'['.repeat(deep)}${old}${']'.repeat(deep)}`,
    polluted: `${whole},"__proto__":{"polluted":${odd}}`,
  };
  return text.slice(0, member.index) + instead[kind] + text.slice(member.index + whole.length);
}

/** Bytes that are no text of a sample any more, or one in another encoding. */
export function mutatedBytes(samples: readonly string[]): fc.Arbitrary<Uint8Array> {
  return fc
    .record({
      sample: fc.constantFrom(...samples),
      kind: fc.constantFrom('flip', 'flip', 'cut', 'insert', 'latin1', 'utf16', 'bom', 'numbers', 'empty', 'tail'),
      place: fc.nat(),
      byte: fc.nat({ max: 255 }),
    })
    .map(({ sample, kind, place, byte }) => {
      const bytes = Buffer.from(sample);
      const at = place % bytes.length;
      switch (kind) {
        case 'flip':
          bytes[at]! ^= byte || 1;
          return bytes;
        case 'cut':
          return bytes.subarray(0, at);
        case 'insert':
          return Buffer.concat([bytes.subarray(0, at), Buffer.alloc((byte % 9) + 1, byte), bytes.subarray(at)]);
        case 'latin1':
          return Buffer.from(`é${sample}`, 'latin1');
        case 'utf16':
          return Buffer.from(`\ufeff${sample}`, 'utf16le');
        case 'bom':
          return Buffer.from(`\ufeff${sample}`);
        case 'numbers':
          return Buffer.from(
            sample.replaceAll(/\d+/g, (number) => ((place + Number(number)) % 5 === 0 ? '1e999' : number)),
          );
        case 'tail':
          return Buffer.concat([bytes, bytes]);
        default:
          return Buffer.alloc(0);
      }
    });
}
