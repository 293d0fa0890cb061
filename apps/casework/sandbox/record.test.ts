import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Effect, type Entry, SandboxRecord } from './record.ts';
import { RecordFile } from './record-file.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sandbox-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const now = () => Date.parse('2025-01-29T10:30:15Z');
const path = () => join(directory, 'sandbox.jsonl');

async function open(seen: Entry[] = []): Promise<SandboxRecord> {
  const record = new SandboxRecord(await RecordFile.open(directory), now);
  await record.restore((entry) => seen.push(entry));
  return record;
}

function sms(text: string, workflowId = 'WF-20250129-AAAAAA'): Effect {
  return { kind: 'sms', workflowId, to: '+491701234567', text };
}

test('the same effect under one key is counted once, however often it is asked for', async () => {
  const record = await open();
  expect(await record.capture(sms('hello'), 'k1')).toBe('first');
  expect(await record.capture(sms('hello'), 'k1')).toBe('repeat');
  expect(await record.capture(sms('hello'), 'k2')).toBe('first');
  const { counts, items } = await record.summary();
  expect(counts.sms).toEqual({ effects: 2, distinctKeys: 2, repeats: 1 });
  expect(counts.mail).toEqual({ effects: 0, distinctKeys: 0, repeats: 0 });
  expect(items.map(({ key }) => key)).toEqual(['k2', 'k1']);
  await record.close();
});

test('another effect under a used key is a conflict and leaves no trace', async () => {
  const record = await open();
  await record.capture(sms('hello'), 'k1');
  expect(await record.capture(sms('goodbye'), 'k1')).toBe('conflict');
  expect((await record.summary()).counts.sms).toEqual({ effects: 1, distinctKeys: 1, repeats: 0 });
  await record.close();
  expect(readFileSync(path(), 'utf8')).not.toContain('goodbye');
});

test('an effect without a key is one each time', async () => {
  const record = await open();
  expect(await record.capture(sms('hello'), undefined)).toBe('first');
  expect(await record.capture(sms('hello'), undefined)).toBe('first');
  expect((await record.summary()).counts.sms).toEqual({ effects: 2, distinctKeys: 0, repeats: 0 });
  await record.close();
});

test('twenty callers at once with one key make one effect and nineteen repeats', async () => {
  const record = await open();
  const results = await Promise.all(Array.from({ length: 20 }, () => record.capture(sms('hello'), 'k1')));
  expect(results.filter((result) => result === 'first')).toHaveLength(1);
  expect((await record.summary()).counts.sms).toEqual({ effects: 1, distinctKeys: 1, repeats: 19 });
  await record.close();
});

test('keys and counts outlive the process, and a line separator inside a text is no line end', async () => {
  const before = await open();
  await before.capture(sms('one\u2028two\nthree'), 'k1');
  await before.capture(sms('one\u2028two\nthree'), 'k1');
  await before.close();

  const seen: Entry[] = [];
  const after = await open(seen);
  expect(seen.map((entry) => 'repeat' in entry)).toEqual([false, true]);
  expect(await after.capture(sms('one\u2028two\nthree'), 'k1')).toBe('repeat');
  expect(await after.capture(sms('other'), 'k1')).toBe('conflict');
  expect((await after.summary()).counts.sms).toEqual({ effects: 1, distinctKeys: 1, repeats: 2 });
  await after.close();
});

test('a last line cut short by a crash is passed over, and what follows it is read', async () => {
  const before = await open();
  await before.capture(sms('hello'), 'k1');
  await before.capture(sms('lost'), 'k2');
  await before.close();
  truncateSync(path(), readFileSync(path()).length - 10);

  const between = await open();
  expect((await between.summary()).counts.sms.effects).toBe(1);
  expect(await between.capture(sms('lost'), 'k2')).toBe('first');
  await between.close();
  appendFileSync(path(), '{"kind":"sms","te');

  const after = await open();
  expect((await after.summary()).counts.sms).toEqual({ effects: 2, distinctKeys: 2, repeats: 0 });
  await after.close();
});

test('the latest 200 effects are shown, and of one workflow also older ones', async () => {
  const record = await open();
  await record.capture(sms('first', 'WF-20250129-OLDEST'), 'k0');
  for (let index = 1; index <= 250; index++) await record.capture(sms(`text ${index}`), `k${index}`);
  await record.capture(sms('first', 'WF-20250129-OLDEST'), 'k0');
  const all = await record.summary();
  expect(all.items).toHaveLength(200);
  expect(all.items[0]).toMatchObject({ key: 'k250', at: '2025-01-29T10:30:15.000Z' });
  expect(all.counts.sms).toEqual({ effects: 251, distinctKeys: 251, repeats: 1 });
  const one = await record.summary('WF-20250129-OLDEST');
  expect(one.counts.sms).toEqual({ effects: 1, distinctKeys: 1, repeats: 1 });
  expect(one.items.map(({ key }) => key)).toEqual(['k0']);
  await record.close();
});
