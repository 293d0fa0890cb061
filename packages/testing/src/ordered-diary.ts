import type { Handler, SubscriptionOptions } from '@dormouse/core';
import { diary } from './wired-service.ts';

/** Notes each event in its workflow's diary; throws what `failing` says first. */
export function noting(failing: (n: number, attempt: number) => Error | undefined): Handler<{ n: number }> {
  return async ({ data: { n } }, step) => {
    const error = failing(n, step.attempt);
    if (error) throw error;
    const found = await step.workflow(diary);
    found.update({ seen: [...found.data.seen, n] });
  };
}

export function inOrder(poison?: SubscriptionOptions['poison'], attempts = 3): SubscriptionOptions {
  return { order: 'workflow', ...(poison && { poison }), retry: { attempts, minBackoff: '10s', maxBackoff: '40s' } };
}

export const hour = 3_600_000;
export const down = new Error('down');
