import { DormouseError } from './errors.ts';

/** `"500ms"`, `"10s"`, `"5m"`, `"12h"`, `"30d"`: a non-negative decimal number and a unit; at most `"36500d"`. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const longest = '36500d';

/** @throws DormouseError `config.duration` where the text is no duration, or a longer one. */
export function durationMs(text: string, what = 'duration'): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (!match) {
    throw new DormouseError(
      'config.duration',
      `${what}: "${text}" is not a duration; write "500ms", "10s", "5m" or "30d"`,
    );
  }
  const ms = Number(match[1]) * unitMs[match[2] as keyof typeof unitMs];
  // Beyond a few hundred thousand years there is no date.
  if (ms > Number.parseInt(longest, 10) * unitMs.d) {
    throw new DormouseError('config.duration', `${what}: "${text}" is too long; use at most "${longest}"`);
  }
  return ms;
}

/** The form of Google's APIs: seconds with an `s`. */
export function durationSeconds(ms: number): string {
  return `${ms / 1000}s`;
}
