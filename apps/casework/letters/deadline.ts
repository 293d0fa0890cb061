import { type Duration, durationMs } from '@dormouse/core';

/** The day, in UTC, by when an answer is asked for. */
export function deadlineAfter(now: number, wait: Duration): string {
  return new Date(now + durationMs(wait)).toISOString().slice(0, 10);
}
