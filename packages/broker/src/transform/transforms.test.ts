import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Outcome, Transforms } from './transforms.ts';

let transforms: Transforms;

beforeAll(() => {
  transforms = new Transforms();
});

afterAll(() => transforms.close());

const message = (text: string, attributes = {}) => ({
  data: Buffer.from(text).toString('base64'),
  attributes,
  metadata: { message_id: '7', publish_time: '2026-11-22T06:00:00Z', ordering_key: 'k' },
});

/** @param body of `f(message, metadata)` */
const udf = (body: string) => ({ functionName: 'f', code: `function f(message, metadata) { ${body} }` });

/** What became of each, its data as text. */
const shown = (outcomes: readonly Outcome[]) =>
  outcomes.map(({ data, ...rest }) =>
    data === undefined ? rest : { text: Buffer.from(data, 'base64').toString(), ...rest },
  );

const run = async (body: string, ...texts: string[]) =>
  shown(
    await transforms.run(
      [udf(body)],
      texts.map((text) => message(text, { a: 'b' })),
    ),
  );

test('a function gives back another message, or null to filter it out', async () => {
  const body = `
    const data = JSON.parse(message.data);
    if (data.secret) return null;
    message.attributes.name = data.name;
    return { data: JSON.stringify({ ...data, id: metadata.message_id }), attributes: message.attributes };`;
  expect(await run(body, '{"name":"é"}', '{"secret":true}')).toEqual([
    { text: '{"name":"é","id":"7"}', attributes: { a: 'b', name: 'é' } },
    { filtered: true },
  ]);
});

test('functions are applied one after the other, and a filter ends it', async () => {
  const [one, two] = [udf('message.data += "1"; return message;'), udf('message.data += "2"; return message;')];
  expect(shown(await transforms.run([one, two, one], [message('0')]))).toMatchObject([{ text: '0121' }]);
  expect(await transforms.run([one, udf('return null;'), udf('throw 1;')], [message('0')])).toEqual([
    { filtered: true },
  ]);
});

test.each([
  ['return { data: message.data };', { text: 'x', attributes: { a: 'b' } }],
  ['return { data: message.data, attributes: {} };', { text: 'x', attributes: {} }],
  ['message.orderingKey = "k"; message.more = 1; return message;', { text: 'x', attributes: { a: 'b' } }],
  [
    'metadata.message_id = "8"; message.data = metadata.message_id; return message;',
    { text: '7', attributes: { a: 'b' } },
  ],
  ['JSON.parse = () => 1; JSON.stringify = () => "1"; return message;', { text: 'x', attributes: { a: 'b' } }],
  ['return;', { failed: 'function "f": TypeError: it returned undefined; return the message, or null' }],
  ['return "x";', { failed: 'function "f": TypeError: it returned string; return the message, or null' }],
  ['return {};', { failed: 'function "f": data of what it returned is no string of Unicode' }],
  ['return { data: "\\ud800" };', { failed: 'function "f": data of what it returned is no string of Unicode' }],
  ['return Promise.resolve(message);', { failed: 'function "f": data of what it returned is no string of Unicode' }],
  [
    'return { data: "", attributes: { b: 1 } };',
    { failed: 'function "f": attribute "b" of what it returned is no string' },
  ],
  ['return { data: "", attributes: [] };', { failed: 'function "f": attributes of what it returned is no object' }],
  ['throw new RangeError("no");', { failed: 'function "f": RangeError: no' }],
  ['throw new Error("no");', { failed: 'function "f": no' }],
  ['throw "no";', { failed: expect.stringMatching(/^function "f": /) }],
  ['missing();', { failed: 'function "f": ReferenceError: missing is not defined' }],
])('{ %s } leads to %j', async (body, outcome) => {
  expect(await run(body, 'x')).toEqual([outcome]);
});

test('data that is no UTF-8 is for no function', async () => {
  const [outcome] = await transforms.run([udf('return message;')], [{ ...message(''), data: '/w==' }]);
  expect(outcome).toEqual({ failed: 'its data is no UTF-8, and functions take strings' });
});

test('a function reaches nothing but its message', async () => {
  const names = ['process', 'require', 'fetch', 'setTimeout', 'WebAssembly', 'SharedArrayBuffer', 'std', 'os'];
  const body = `message.data = String([${names.map((name) => `typeof ${name}`).join()}]); return message;`;
  const [outcome] = await run(body, 'x');
  expect((outcome as { text: string }).text.split(',').filter((type) => type !== 'undefined')).toEqual(
    // Of memory of its own.
    ['function'],
  );
  const climbing = 'message.data = message.constructor.constructor("return typeof process")(); return message;';
  expect(await run(climbing, 'x')).toMatchObject([{ text: 'undefined' }]);
});

test.each([
  ['while (true) {}', 'ran longer than 500 ms'],
  ['/(a+)+$/.test("a".repeat(40) + "b");', 'ran longer than 500 ms'],
  ['const a = []; while (true) a.push(new Uint8Array(1e6));', 'more than 128 MB'],
  ['(function g() { g(); })();', 'Maximum call stack size exceeded'],
  ['throw { get name() { while (true) {} } };', 'function "f"'],
  ['throw { get message() { while (true) {} }, toString() { throw 1; } };', 'function "f"'],
  ['throw Symbol("x");', 'function "f"'],
  ['throw null;', 'function "f"'],
  // A loop of the engine's own, which it does not interrupt.
  ['[].reverse.call({ length: 2 ** 53 - 1 });', 'did not end, and was stopped'],
])('{ %s } fails its own message, and no other', async (body, because) => {
  const hostile = `if (message.data === 'bad') { ${body} } return message;`;
  const others = transforms.run([udf('message.data += "!"; return message;')], [message('other')]);
  const outcomes = await run(hostile, 'good', 'bad', 'good');
  expect(outcomes).toMatchObject([{ text: 'good' }, { failed: expect.stringContaining(because) }, { text: 'good' }]);
  expect(shown(await others)).toMatchObject([{ text: 'other!' }]);
});

test.each([
  ['function f( {', 'SyntaxError'],
  ['function g() {}', 'no function "f"'],
  ['throw new Error("at once");', 'at once'],
  ['while (true) {}', '500 ms'],
  ['[].reverse.call({ length: 2 ** 53 - 1 });', 'did not end'],
])('the code %j is refused before any message comes: %s', async (code, because) => {
  await expect(transforms.check('topic "t"', [{ functionName: 'f', code }])).rejects.toMatchObject({
    status: 'INVALID_ARGUMENT',
    message: expect.stringMatching(new RegExp(`topic "t": messageTransforms: .*${because}`)),
  });
});

test.each(['const f = (message) => message;', 'let f; f = function (message) { return message; };', 'function f() {}'])(
  'a function may be made in any way: %s',
  async (code) => {
    await transforms.check('topic "t"', [{ functionName: 'f', code }]);
  },
);

test('more functions than are kept loaded take turns', async () => {
  const udfs = Array.from({ length: 40 }, (_each, index) => udf(`message.data += "${index} "; return message;`));
  const expected = Array.from({ length: 40 }, (_each, index) => `${index} `).join('');
  expect(shown(await transforms.run(udfs, [message(''), message('')]))).toMatchObject([
    { text: expected },
    { text: expected },
  ]);
});

test('ten megabytes go through', async () => {
  const text = 'é'.repeat(5_000_000);
  const [outcome] = await run('message.data = message.data.slice(1); return message;', text);
  expect((outcome as { text: string }).text.length).toBe(4_999_999);
});

test('what waits when it closes is refused', async () => {
  const closing = new Transforms();
  const running = closing.run([udf('return message;')], [message('x')]);
  closing.close();
  await expect(running).rejects.toMatchObject({ status: 'UNAVAILABLE' });
  await expect(closing.run([], [])).rejects.toMatchObject({ status: 'UNAVAILABLE' });
});
