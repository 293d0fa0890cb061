import { type Duration, durationMs } from './duration.ts';
import { DormouseError, type ErrorCode } from './errors.ts';
import { redacted } from './redact.ts';

/** No retry can help: the delivery is dead-lettered now. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

const longestAfter = '30d';
const mostPostponements = 1_000;

/**
 * Run the handler again after this long, whatever its policy says; attempts are not used up. At most 30d, and 1,000 times
 * for one event: then it is dead-lettered.
 */
export class RetryLaterError extends Error {
  override readonly name = 'RetryLaterError';
  readonly afterMs: number;

  /** @throws DormouseError `config.duration`, `config.setting` */
  constructor(message: string, options: ErrorOptions & { readonly after: Duration }) {
    super(message, options);
    this.afterMs = durationMs(options.after, 'RetryLaterError.after');
    if (this.afterMs > durationMs(longestAfter)) {
      throw new DormouseError(
        'config.setting',
        `RetryLaterError.after must be at most ${longestAfter}, got "${options.after}"; for longer, publish with \`after\` and a timer`,
      );
    }
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

/** How to try again, where not by default: number of runs in all, and the delays between them. */
export interface RetryOptions {
  readonly attempts?: number;
  readonly minBackoff?: Duration;
  readonly maxBackoff?: Duration;
}

/** For a handler that threw. */
export const handlerPolicy: RetryPolicy = { attempts: 5, minBackoffMs: 10_000, maxBackoffMs: 600_000 };

/** For an activity that failed: 24 waits, together 78 minutes at the least, so that an hour's outage is outlasted. */
export const activityPolicy: RetryPolicy = { attempts: 25, minBackoffMs: 1_000, maxBackoffMs: 600_000 };

/** Checks options and fills in what they leave out. @throws DormouseError `config.setting`, `config.duration` */
export function retryPolicy(what: string, options: RetryOptions, defaults: RetryPolicy): RetryPolicy {
  const { attempts = defaults.attempts, minBackoff, maxBackoff } = options;
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > 100) {
    throw new DormouseError(
      'config.setting',
      `${what}: retry.attempts must be a whole number from 1 to 100, got ${attempts}`,
    );
  }
  const backoffMs = (name: string, text: Duration | undefined, otherwise: number) =>
    text === undefined ? otherwise : durationMs(text, `${what}: retry.${name}`);
  const minBackoffMs = backoffMs('minBackoff', minBackoff, defaults.minBackoffMs);
  const maxBackoffMs = backoffMs('maxBackoff', maxBackoff, defaults.maxBackoffMs);
  if (minBackoffMs > maxBackoffMs) {
    const [min, max] = [minBackoff ?? `${minBackoffMs}ms`, maxBackoff ?? `${maxBackoffMs}ms`];
    throw new DormouseError('config.setting', `${what}: retry.minBackoff ${min} is above retry.maxBackoff ${max}`);
  }
  return { attempts, minBackoffMs, maxBackoffMs };
}

export type Decision =
  | { readonly kind: 'retry'; readonly code: ErrorCode; readonly afterMs: number; readonly counts: boolean }
  | { readonly kind: 'dead-letter'; readonly code: ErrorCode };

/**
 * What follows a failure, by its code. The table of `docs/semantics.md` is this one, kept equal by a test.
 *
 * - `dead letter`: at once. No retry can help, or all that could was tried.
 * - `policy`: again by the policy of the subscription, or of the activity that failed; then a dead letter.
 * - `later`: again at a time of its own, without using up an attempt.
 * - `wire`: nothing can be committed; the wire brings it again.
 */
export type Fate = 'dead letter' | 'policy' | 'later' | 'wire';

export const fates: Readonly<Record<ErrorCode, Fate>> = {
  'config.duration': 'policy',
  'config.name': 'policy',
  'config.duplicate': 'policy',
  'config.unknown-topic': 'policy',
  'config.setting': 'policy',
  'event.malformed': 'dead letter',
  'event.invalid': 'dead letter',
  'event.foreign': 'dead letter',
  'event.newer-version': 'later',
  'event.unknown-subscription': 'wire',
  'delivery.deadly': 'dead letter',
  'delivery.unanswered': 'dead letter',
  'step.permanent': 'dead letter',
  'step.retry-later': 'later',
  'step.deferred': 'dead letter',
  'step.failed': 'policy',
  'step.deadline': 'policy',
  'step.effect-in-activity': 'dead letter',
  'step.activity-input': 'dead letter',
  'step.activity-result': 'dead letter',
  'step.publish-invalid': 'dead letter',
  'step.closed': 'dead letter',
  'document.missing': 'policy',
  'document.exists': 'dead letter',
  'document.ref': 'dead letter',
  'personal.erased': 'dead letter',
  'topic.undeclared': 'dead letter',
  'store.conflict': 'policy',
  'store.contended': 'later',
  'store.limit': 'dead letter',
  'store.refused': 'dead letter',
  'store.unavailable': 'wire',
  'subscription.differs': 'policy',
  'subscription.refused': 'policy',
  'query.invalid': 'policy',
  'query.unindexed': 'policy',
  'blob.missing': 'policy',
  'blob.damaged': 'policy',
  'command.invalid': 'policy',
  'command.refused': 'policy',
  'command.key-reused': 'policy',
};

const newerVersionDelayMs = 30_000;
const contendedDelayMs = 1_000;

/**
 * What happens to a delivery whose handler threw.
 * @param failures how often it failed so far under this policy, or asked to be run later; this time included
 * @param random in [0, 1): spreads retries over the upper half of their backoff, so that what failed together does not return together
 */
export function decide(error: unknown, failures: number, policy: RetryPolicy, random: number): Decision {
  if (error instanceof PermanentError) return { kind: 'dead-letter', code: 'step.permanent' };
  if (error instanceof RetryLaterError) {
    const code = 'step.retry-later';
    if (failures > mostPostponements) return { kind: 'dead-letter', code };
    return { kind: 'retry', code, afterMs: error.afterMs, counts: true };
  }
  const code = error instanceof DormouseError ? error.code : 'step.failed';
  if (fates[code] === 'dead letter') return { kind: 'dead-letter', code };
  if (code === 'event.newer-version') {
    return { kind: 'retry', code, afterMs: newerVersionDelayMs, counts: false };
  }
  // Others were faster: no fault of the handler's.
  if (code === 'store.contended') {
    return { kind: 'retry', code, afterMs: Math.round(contendedDelayMs * (0.5 + random)), counts: false };
  }
  if (failures >= policy.attempts) return { kind: 'dead-letter', code };
  const backoffMs = Math.min(policy.maxBackoffMs, policy.minBackoffMs * 2 ** (failures - 1));
  return { kind: 'retry', code, afterMs: Math.round(backoffMs * (0.5 + random / 2)), counts: true };
}

/** Where a handler threw: up to three places, innermost first, without those in packages, in Node, and of who called it. */
export function placesOf(error: unknown): string[] {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line) && !/node:|node_modules\//.test(line));
  const caller = frames.findIndex((line) => line.includes('DeliveryRun.'));
  return frames.slice(0, caller === -1 ? 3 : Math.min(3, caller)).map((line) => line.trim().slice('at '.length));
}

/** The causes of an error, outermost first, without secrets and contact data: what goes to the journal and to operators. */
export function causeOf(error: unknown): string {
  const parts: string[] = [];
  let at = error;
  do {
    parts.push(at instanceof Error ? (at.name === 'Error' ? at.message : `${at.name}: ${at.message}`) : String(at));
    at = at instanceof Error ? at.cause : undefined;
  } while (at !== undefined && parts.length < 5);
  return redacted(parts.join('; caused by ').slice(0, 2000));
}
