import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from './clock.ts';

const hour = 3_600_000;
const day = 24 * hour;

// The machine's own clock and timers, moved by hand.
beforeEach(() => void vi.useFakeTimers({ now: Date.UTC(2026, 0, 1), toFake: ['Date', 'setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

test('a wait of months ends at its time, not before', () => {
  let calls = 0;
  systemClock.at(systemClock.now() + 90 * day, () => calls++);
  vi.advanceTimersByTime(90 * day - 1);
  expect(calls).toBe(0);
  vi.advanceTimersByTime(1);
  expect(calls).toBe(1);
});

test('what a clock set forward, or a laptop that slept, has made due is found within a minute', () => {
  let calls = 0;
  systemClock.at(systemClock.now() + day, () => calls++);
  vi.advanceTimersByTime(hour);
  vi.setSystemTime(Date.now() + day);
  vi.advanceTimersByTime(60_000);
  expect(calls).toBe(1);
});

test('a clock set back makes nothing due before its time', () => {
  let calls = 0;
  systemClock.at(systemClock.now() + 30_000, () => calls++);
  vi.setSystemTime(Date.now() - hour);
  vi.advanceTimersByTime(hour);
  expect(calls).toBe(0);
  vi.advanceTimersByTime(30_000);
  expect(calls).toBe(1);
});

test('a wait that is taken back never ends, also after many looks at the clock', () => {
  let calls = 0;
  const cancel = systemClock.at(systemClock.now() + day, () => calls++);
  vi.advanceTimersByTime(hour);
  cancel();
  vi.advanceTimersByTime(2 * day);
  expect(calls).toBe(0);
});
