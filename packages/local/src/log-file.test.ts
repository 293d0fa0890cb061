// Real: files of a log, written by one and read by another at once.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { hostLog } from './host-log.ts';
import { LogFile } from './log-file.ts';
import { LogReader } from './log-reader.ts';

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'dormouse-log-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

test('a log takes a bounded place: full files are kept up to a number, the oldest goes', () => {
  const here = folder();
  const file = new LogFile(join(here, 'host.log'), { maxBytes: 1_000, kept: 2 });
  const line = `${'x'.repeat(99)}\n`;
  for (let count = 0; count < 100; count++) file.write(line);
  file.close();
  expect(readdirSync(here).toSorted()).toEqual(['host.log', 'host.log.1', 'host.log.2']);
  for (const name of readdirSync(here)) {
    expect(statSync(join(here, name)).size).toBe(1_000);
    expect(statSync(join(here, name)).mode & 0o077).toBe(0);
  }
});

test('a reader misses no line and repeats none, however often the file is renamed meanwhile', () => {
  const here = folder();
  const file = new LogFile(join(here, 'host.log'), { maxBytes: 2_000, kept: 4 });
  const log = hostLog(file);
  const reader = new LogReader(join(here, 'host.log'));
  const seen: unknown[] = [];
  const take = () => {
    for (const { number } of reader.read()) seen.push(number);
  };
  take();
  for (let number = 1; number <= 500; number++) {
    log.info('thing.happened', { number, text: 'ä'.repeat(number % 50) });
    if (number % 7 === 0) take();
  }
  take();
  expect(seen).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
  reader.close();
  file.close();
});

test('one that starts to read later finds all that is kept, in order', () => {
  const here = folder();
  const file = new LogFile(join(here, 'host.log'), { maxBytes: 1_000, kept: 3 });
  const log = hostLog(file);
  for (let number = 1; number <= 30; number++) log.warn('thing.happened', { number });
  const numbers = [...new LogReader(join(here, 'host.log')).read()].map(({ number }) => Number(number));
  expect(numbers.at(-1)).toBe(30);
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  expect(numbers.length).toBeGreaterThan(20);
});

test('whatever is handed in becomes a line: circles, big numbers, errors', () => {
  const here = folder();
  const file = new LogFile(join(here, 'host.log'));
  const circle: Record<string, unknown> = { big: 12n };
  circle.again = circle;
  hostLog(file).error('thing.failed', { circle, error: new Error('no luck') });
  const [record] = [...new LogReader(join(here, 'host.log')).read()];
  expect(record).toMatchObject({
    level: 'error',
    service: 'host',
    pid: process.pid,
    moment: 'thing.failed',
    circle: { again: '[circular]' },
    error: expect.stringContaining('no luck'),
  });
});
