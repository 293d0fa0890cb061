import { expect, test } from 'vitest';
import { DormouseError, type ErrorCode } from './errors.ts';
import { activityPolicy, causeOf, decide, fates, PermanentError, RetryLaterError } from './failure.ts';

const policy = { attempts: 5, minBackoffMs: 10_000, maxBackoffMs: 60_000 };

test.each([
  [1, 10_000],
  [2, 20_000],
  [3, 40_000],
  [4, 60_000],
])('attempt %d is followed by a retry after at most %d ms', (attempt, backoffMs) => {
  expect(decide(new Error('x'), attempt, policy, 0.999999)).toMatchObject({ kind: 'retry', afterMs: backoffMs });
  expect(decide(new Error('x'), attempt, policy, 0)).toMatchObject({ kind: 'retry', afterMs: backoffMs / 2 });
});

test('the last attempt is followed by a dead letter', () => {
  expect(decide(new Error('x'), 5, policy, 0)).toEqual({ kind: 'dead-letter', code: 'step.failed' });
});

test('a permanent error is a dead letter at the first attempt', () => {
  expect(decide(new PermanentError('x'), 1, policy, 0)).toEqual({ kind: 'dead-letter', code: 'step.permanent' });
});

test('an error that asks for a time gets that time, also past the last attempt', () => {
  const error = new RetryLaterError('busy', { after: '90s' });
  expect(decide(error, 99, policy, 0)).toEqual({
    kind: 'retry',
    code: 'step.retry-later',
    afterMs: 90_000,
    counts: true,
  });
});

test('who asks for a time over and over is a dead letter in the end', () => {
  const error = new RetryLaterError('busy', { after: '90s' });
  expect(decide(error, 1_000, policy, 0).kind).toBe('retry');
  expect(decide(error, 1_001, policy, 0)).toEqual({ kind: 'dead-letter', code: 'step.retry-later' });
});

test('a time to run again that is out of bounds is refused where it is named', () => {
  expect(new RetryLaterError('closed', { after: '30d' }).afterMs).toBe(30 * 86_400_000);
  expect(() => new RetryLaterError('closed', { after: '31d' })).toThrow(
    'RetryLaterError.after must be at most 30d, got "31d"; for longer, publish with `after` and a timer',
  );
});

test('what no retry can mend of ours is a dead letter, what may pass is retried', () => {
  expect(decide(new DormouseError('event.invalid', 'x'), 1, policy, 0).kind).toBe('dead-letter');
  expect(decide(new DormouseError('document.missing', 'x'), 1, policy, 0).kind).toBe('retry');
  expect(decide(new DormouseError('event.newer-version', 'x'), 99, policy, 0).kind).toBe('retry');
});

test.each(Object.entries(fates))('%s: %s', (code, fate) => {
  if (fate === 'wire' || code === 'step.retry-later') return;
  const decided = (failures: number) => decide(new DormouseError(code as ErrorCode, 'x'), failures, policy, 0).kind;
  const expected: Record<string, [string, string]> = {
    'dead letter': ['dead-letter', 'dead-letter'],
    policy: ['retry', 'dead-letter'],
    later: ['retry', 'retry'],
  };
  expect([decided(1), decided(policy.attempts)]).toEqual(expected[fate]);
});

test('what was thrown need not be an error', () => {
  expect(decide('a string', 5, policy, 0).kind).toBe('dead-letter');
  expect(causeOf('a string')).toBe('a string');
  expect(causeOf(undefined)).toBe('undefined');
});

test('the cause is told with what caused it, bounded', () => {
  const deep = new TypeError('outer', { cause: new Error('inner') });
  expect(causeOf(deep)).toBe('TypeError: outer; caused by inner');
  expect(causeOf(new Error('x'.repeat(10_000)))).toHaveLength(2_000);
  const round: Error & { cause?: unknown } = new Error('round');
  round.cause = round;
  expect(causeOf(round).split('caused by')).toHaveLength(5);
});

test('an activity outlasts an outage of an hour, however its backoffs are spread', () => {
  for (const random of [0, 0.5, 0.999]) {
    let waitedMs = 0;
    for (let failures = 1; failures < activityPolicy.attempts; failures++) {
      const decision = decide(new Error('down'), failures, activityPolicy, random);
      if (decision.kind !== 'retry') throw new Error(`gave up after ${failures}`);
      waitedMs += decision.afterMs;
    }
    expect(waitedMs).toBeGreaterThan(3_600_000);
    expect(decide(new Error('down'), activityPolicy.attempts, activityPolicy, random).kind).toBe('dead-letter');
  }
});
