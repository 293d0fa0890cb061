import { DormouseError } from './errors.ts';

/** `"500ms"`, `"10s"`, `"5m"`, `"12h"`, `"30d"`: a non-negative decimal number and a unit. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** @throws DormouseError `config.duration` where the text is no duration. */
export function durationMs(text: string, what = 'duration'): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (!match) {
    throw new DormouseError(
      'config.duration',
      `${what}: "${text}" is not a duration; write "500ms", "10s", "5m" or "30d"`,
    );
  }
  return Number(match[1]) * unitMs[match[2] as keyof typeof unitMs];
}

/** The form of Google's APIs: seconds with an `s`. */
export function durationSeconds(ms: number): string {
  return `${ms / 1000}s`;
}
