import { causeOf, type Logger, type TickPorts, tick } from '@dormouse/core';
import type { TickBody } from './scheduler.ts';

export interface TickRequest {
  readonly method: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

export interface TickAnswer {
  readonly status: number;
  /** For whoever looks at what a task was answered. */
  readonly json: Readonly<Record<string, unknown>>;
}

export interface TickOptions {
  readonly ports: TickPorts;
  /** Resolves where the bearer token is good, rejects otherwise. */
  readonly authenticate: (token: string | undefined) => Promise<void>;
  readonly log: Logger;
}

/**
 * `POST /tick`: by Cloud Tasks when a timer is due, and every few minutes as a net. 200 with what was done and what is due next;
 * 503 where something is left to do, which Cloud Tasks takes for a reason to come again.
 */
export function tickEndpoint({ ports, authenticate, log }: TickOptions): (request: TickRequest) => Promise<TickAnswer> {
  return async ({ method, authorization = '', body }) => {
    if (method !== 'POST') return { status: 405, json: { detail: 'a tick is a POST' } };
    try {
      await authenticate(/^Bearer (.+)$/.exec(authorization)?.[1]);
    } catch (error) {
      log.warn('tick.refused', { reason: causeOf(error) });
      return { status: 401, json: { detail: 'the request carries no valid token of this system' } };
    }
    const at = timeOf(body);
    if (at === undefined)
      return { status: 400, json: { detail: 'the body is neither empty nor {"at": milliseconds}' } };
    try {
      const { due, isDrained, nextDueAt } = await tick(ports, at);
      const next = nextDueAt === undefined ? {} : { nextDueAt: new Date(nextDueAt).toISOString() };
      return { status: isDrained ? 200 : 503, json: { due, isDrained, ...next } };
    } catch (error) {
      log.error('tick.failed', { cause: causeOf(error) });
      return { status: 503, json: { detail: causeOf(error) } };
    }
  };
}

/** Of an empty body, the beginning of time: the clock alone counts. */
function timeOf(body: string): number | undefined {
  if (body.trim() === '') return 0;
  try {
    const { at = 0 } = JSON.parse(body) as Partial<TickBody>;
    return Number.isFinite(at) ? at : undefined;
  } catch {
    return undefined;
  }
}
