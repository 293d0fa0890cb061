import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { developmentLine, warningOf } from './log-line.ts';

const record = { level: 'warn', time: '2026-01-01T00:00:00.000Z', service: 'admin', pid: 1 } as const;

test('an event that nobody ever answered for is told to whoever looks at a running system', () => {
  expect(warningOf({ ...record, moment: 'delivery.unanswered', subscription: 'data.data.fetch' })).toBe(
    'nobody ever answered for an event of data.data.fetch, and the wire gave it up · npm run dormouse -- dead-letters',
  );
});

test('a developer sees what was deferred, and why', () => {
  const line = developmentLine({
    ...record,
    moment: 'event.deferred',
    subscription: 'data.data.fetch',
    reason: 'early',
  });
  expect(stripVTControlCharacters(line!)).toBe('admin: data.data.fetch deferred: early');
});
