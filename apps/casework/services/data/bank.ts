import type { Clock } from '@dormouse/core';
import { callOutside, OutsideError } from '../../outside/http.ts';

export interface BankConfig {
  /** Where the bank's API is: `https://bank.example`. */
  readonly url: string;
}

export interface StatementRequest {
  readonly accountId: string;
  /** First day of the period, `YYYY-MM-DD`. */
  readonly from: string;
  /** Last day of the period, `YYYY-MM-DD`. */
  readonly to: string;
}

/**
 * The statement of an account as the bank's API gives it: JSON, not looked into further. At most 10 MB (10^7 bytes), within 30 s.
 * Fails with an OutsideError; an account the bank does not know is permanent.
 */
export async function fetchBankStatement(
  config: BankConfig,
  { accountId, from, to }: StatementRequest,
  { signal, clock }: { readonly signal?: AbortSignal; readonly clock?: Clock } = {},
): Promise<string> {
  const url = new URL(`/bank/accounts/${encodeURIComponent(accountId)}/statements`, config.url);
  url.search = new URLSearchParams({ from, to }).toString();
  const headers = { accept: 'application/json' };
  const limits = { timeoutMs: 30_000, maxBytes: 10_000_000, signal, clock };
  const text = await callOutside({ name: 'bank', method: 'GET', url, headers, ...limits });
  try {
    JSON.parse(text);
  } catch {
    // The parser's error would quote the statement.
    throw new OutsideError(`bank at ${url.origin} answered with what is no JSON; try again later`, {
      permanent: false,
    });
  }
  return text;
}
