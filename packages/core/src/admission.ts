import { causeOf } from './failure.ts';
import type { Logger } from './logger.ts';

/** Of a request, before any of its body is read. */
export interface RequestHead {
  readonly method: string;
  readonly authorization: string | undefined;
}

/** What whoever is not let in is answered. */
export interface Refused {
  readonly status: number;
  readonly detail: string;
}

/** Nobody knows whether a token is good: what it is checked with cannot be had. It may be shown again. */
export class UncheckedTokenError extends Error {
  override readonly name = 'UncheckedTokenError';
}

/**
 * Whether a request of the wire may go on: a POST with a good token.
 * @param authenticate resolves where the token is good, rejects otherwise
 * @param what the request is: `push`, `tick`
 * @returns undefined where it may
 */
export async function admission(
  { method, authorization = '' }: RequestHead,
  authenticate: (token: string | undefined) => Promise<void>,
  log: Logger,
  what: string,
): Promise<Refused | undefined> {
  if (method !== 'POST') return { status: 405, detail: `a ${what} is a POST` };
  try {
    await authenticate(/^Bearer (.+)$/.exec(authorization)?.[1]);
    return undefined;
  } catch (error) {
    const reason = causeOf(error);
    if (error instanceof UncheckedTokenError) {
      log.error(`${what}.unchecked`, { reason });
      return { status: 503, detail: reason };
    }
    log.warn(`${what}.refused`, { reason });
    return { status: 401, detail: `the ${what} carries no valid token of this system` };
  }
}
