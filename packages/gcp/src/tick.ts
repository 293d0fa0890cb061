import { admission, causeOf, type Logger, type TickPorts, tick } from '@dormouse/core';
import type { CloudAnswer, Route } from './http-server.ts';
import type { TickBody } from './scheduler.ts';

export interface TickOptions {
  readonly ports: TickPorts;
  /** Resolves where the bearer token is good, rejects otherwise. */
  readonly authenticate: (token: string | undefined) => Promise<void>;
  readonly log: Logger;
}

/** Of a `TickBody`, with room. */
const maxBodyBytes = 1_000;

/**
 * `POST /tick`: by Cloud Tasks when a timer is due, and every few minutes as a net. 200 with what was done and what is due next, once
 * somebody is asked to look then: also where something is stuck, since one task a minute looks at that again, and Cloud Tasks would bring
 * back every other that meets it for a month. 503 where nobody knows what is due next.
 */
export function tickRoute({ ports, authenticate, log }: TickOptions): Route {
  async function answer(body: string): Promise<CloudAnswer> {
    const at = timeOf(body);
    if (at === undefined) return { status: 400, detail: 'the body is neither empty nor {"at": milliseconds}' };
    try {
      const { due, isDrained, failures, nextDueAt } = await tick(ports, at);
      if (failures.length > 0) log.error('tick.stuck', { failures });
      const next = nextDueAt === undefined ? {} : { nextDueAt: new Date(nextDueAt).toISOString() };
      return { status: 200, json: { due, isDrained, failures, ...next } };
    } catch (error) {
      log.error('tick.failed', { cause: causeOf(error) });
      return { status: 503, detail: causeOf(error) };
    }
  }

  return { maxBodyBytes, admit: (head) => admission(head, authenticate, log, 'tick'), answer };
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
