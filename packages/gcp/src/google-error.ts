import { DormouseError } from '@dormouse/core';

export interface GoogleErrorFacts {
  /** Of HTTP; 0 where there was no answer. */
  readonly code: number;
  /** Google may have done what was asked, though it did not say so. */
  readonly mayHaveHappened?: boolean;
  /** The same request was sent before, and may have happened then. */
  readonly isRepeat?: boolean;
  /** How long Google wants to be left alone. */
  readonly retryAfterMs?: number | undefined;
}

/** What Google refused, by google.rpc.Code's name; `UNAVAILABLE` also where it did not answer. */
export class GoogleError extends Error {
  override readonly name = 'GoogleError';
  readonly status: string;
  readonly facts: GoogleErrorFacts;
  readonly #detail: string;

  constructor(status: string, detail: string, facts: GoogleErrorFacts, options?: ErrorOptions) {
    super(`${status}: ${detail}`, options);
    this.status = status;
    this.facts = facts;
    this.#detail = detail;
  }

  /** The same, of a request of which nobody knows whether it had happened before. */
  asRepeat(): GoogleError {
    return new GoogleError(this.status, this.#detail, { ...this.facts, isRepeat: true }, { cause: this.cause });
  }
}

/**
 * For a port: what Google does not answer, or has no leave for, is no fault of a handler's, and the wire brings it again. What it
 * takes for malformed will never be anything else.
 */
export async function answering<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof GoogleError)) throw error;
    const code = error.status === 'INVALID_ARGUMENT' ? 'store.refused' : 'store.unavailable';
    throw new DormouseError(code, error.message, { cause: error });
  }
}

/** Source: cloud.google.com/storage/docs/retry-strategy; google.aip.dev/194. 0: no answer at all. */
const passing: ReadonlySet<number> = new Set([0, 408, 429, 500, 502, 503, 504]);

/** Whether the same request may go well a moment later. */
export function isPassing(error: unknown): boolean {
  return error instanceof GoogleError && passing.has(error.facts.code);
}

/** Source: google/rpc/code.proto, its mapping to HTTP; for APIs whose errors bear no name, as Cloud Storage's. */
const names: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  408: 'DEADLINE_EXCEEDED',
  409: 'ALREADY_EXISTS',
  412: 'FAILED_PRECONDITION',
  429: 'RESOURCE_EXHAUSTED',
  499: 'CANCELLED',
  500: 'INTERNAL',
  501: 'UNIMPLEMENTED',
  502: 'UNAVAILABLE',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
};

const longestMessage = 500;

/**
 * @param body JSON of google.rpc.Status, also in a list, as a stream has it; or what whoever stands between us and Google wrote. That a
 * request will never be taken is believed of Google alone.
 */
export function errorOf(code: number, body: string, facts: Omit<GoogleErrorFacts, 'code'>): GoogleError {
  const told = toldByGoogle(body);
  const named = told || code !== 400 ? names[code] : undefined;
  const message = told?.message ?? (body.trim() || `HTTP ${code}`);
  return new GoogleError(told?.status ?? named ?? 'UNKNOWN', message.slice(0, longestMessage), { ...facts, code });
}

function toldByGoogle(body: string): { readonly status?: string; readonly message?: string } | undefined {
  try {
    const answer = JSON.parse(body);
    return (Array.isArray(answer) ? answer[0] : answer)?.error;
  } catch {
    return undefined;
  }
}

const refusals: ReadonlySet<string> = new Set(['FAILED_PRECONDITION', 'ALREADY_EXISTS', 'ABORTED', 'NOT_FOUND']);

/** Whether a commit was refused for how things stand, or for another that it met: not for what it says. */
export function isRefused(error: unknown): error is GoogleError {
  return error instanceof GoogleError && refusals.has(error.status);
}
