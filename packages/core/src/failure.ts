import { type Duration, durationMs } from './duration.ts';
import { DormouseError, type ErrorCode } from './errors.ts';

/** No retry can help: the delivery is dead-lettered now. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

/** Run the handler again after this long, whatever its policy says; attempts are not used up. */
export class RetryLaterError extends Error {
  override readonly name = 'RetryLaterError';
  readonly afterMs: number;

  constructor(message: string, options: ErrorOptions & { readonly after: Duration }) {
    super(message, options);
    this.afterMs = durationMs(options.after, 'RetryLaterError.after');
  }
}

export interface RetryPolicy {
  /** Runs of the handler in all, the first included. Default 5. */
  readonly attempts: number;
  /** Delay before the second attempt; doubles from there. Default 10s. */
  readonly minBackoffMs: number;
  /** Default 600s. */
  readonly maxBackoffMs: number;
}

export type Decision =
  | { readonly kind: 'retry'; readonly code: ErrorCode; readonly at: number; readonly countsAsFailure: boolean }
  | { readonly kind: 'dead-letter'; readonly code: ErrorCode };

const permanentCodes: ReadonlySet<ErrorCode> = new Set([
  'event.malformed',
  'event.invalid',
  'event.foreign',
  'step.effect-in-activity',
  'step.activity-input',
  'step.activity-result',
  'step.publish-invalid',
  'step.closed',
  'document.exists',
  'document.ref',
  'topic.undeclared',
]);

const newerVersionDelayMs = 30_000;
const contendedDelayMs = 1_000;

/**
 * What happens to a delivery whose handler threw.
 * @param attempt the attempt that failed, from 1
 * @param random in [0, 1): spreads retries over the upper half of their backoff, so that what failed together does not return together
 */
export function decide(error: unknown, attempt: number, policy: RetryPolicy, now: number, random: number): Decision {
  if (error instanceof PermanentError) return { kind: 'dead-letter', code: 'step.permanent' };
  if (error instanceof RetryLaterError) {
    return { kind: 'retry', code: 'step.retry-later', at: now + error.afterMs, countsAsFailure: false };
  }
  const code = error instanceof DormouseError ? error.code : 'step.failed';
  if (permanentCodes.has(code)) return { kind: 'dead-letter', code };
  if (code === 'event.newer-version') {
    return { kind: 'retry', code, at: now + newerVersionDelayMs, countsAsFailure: false };
  }
  // Others were faster: no fault of the handler's.
  if (code === 'store.contended') {
    return { kind: 'retry', code, at: Math.round(now + contendedDelayMs * (0.5 + random)), countsAsFailure: false };
  }
  if (attempt >= policy.attempts) return { kind: 'dead-letter', code };
  const backoffMs = Math.min(policy.maxBackoffMs, policy.minBackoffMs * 2 ** (attempt - 1));
  return { kind: 'retry', code, at: Math.round(now + backoffMs * (0.5 + random / 2)), countsAsFailure: true };
}

/** The causes of an error as one line, outermost first. What goes to the journal and to operators. */
export function causeOf(error: unknown): string {
  const parts: string[] = [];
  let at = error;
  do {
    parts.push(at instanceof Error ? (at.name === 'Error' ? at.message : `${at.name}: ${at.message}`) : String(at));
    at = at instanceof Error ? at.cause : undefined;
  } while (at !== undefined && parts.length < 5);
  return parts.join('; caused by ').slice(0, 2000);
}
