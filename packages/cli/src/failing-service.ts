import type { ServiceFailure } from '@dormouse/local';
import { paint, stamp } from './paint.ts';

/** Why a service does not work, and the last that it wrote, indented below. */
export function failureOf(name: string, { failures, since, reason, output, retryAt }: ServiceFailure): string {
  const next =
    retryAt === undefined
      ? 'its messages wait for a change'
      : retryAt > Date.now()
        ? `next try ${stamp(retryAt).slice(11)}`
        : 'tried again when a message waits';
  const times = failures > 1 ? `${failures} times since ${stamp(since)}, last ` : '';
  const lines = output.split('\n').filter(Boolean);
  const told = paint('red', `${name} is failing: ${times}${reason}`);
  return [`${told} · ${next}`, ...lines.map((line) => paint('dim', `  | ${line}`))].join('\n');
}
