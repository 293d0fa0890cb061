import type { Clock } from '@dormouse/core';
import { callOutside } from '../../outside/http.ts';

export interface SmsConfig {
  /** Where the gateway is: `https://sms.example`. */
  readonly url: string;
}

export interface Sms {
  /** E.164: `+491701234567`. */
  readonly to: string;
  readonly text: string;
}

/**
 * Sends a text message through the HTTP gateway. Sending twice with one idempotency key is sending once.
 * At most 15 s. Fails with an OutsideError, which never shows the number or the text.
 */
export async function sendSms(
  config: SmsConfig,
  { to, text }: Sms,
  {
    idempotencyKey,
    signal,
    clock,
  }: { readonly idempotencyKey: string; readonly signal?: AbortSignal; readonly clock?: Clock },
): Promise<void> {
  await callOutside({
    name: 'SMS gateway',
    method: 'POST',
    url: new URL('/sms/messages', config.url),
    headers: { 'content-type': 'application/json', 'x-idempotency-key': idempotencyKey },
    body: JSON.stringify({ to, text }),
    timeoutMs: 15_000,
    maxBytes: 100_000,
    signal,
    clock,
  });
}
