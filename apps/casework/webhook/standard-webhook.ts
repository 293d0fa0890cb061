import { createHmac, timingSafeEqual } from 'node:crypto';

/** The three headers of a signed webhook. Source: Standard Webhooks 1.0, https://www.standardwebhooks.com. */
export interface WebhookHeaders {
  readonly 'webhook-id': string;
  /** Seconds since 1970. */
  readonly 'webhook-timestamp': string;
  /** `v1,` and the signature in base64; several, separated by spaces, while a secret is being changed. */
  readonly 'webhook-signature': string;
}

export interface WebhookToSign {
  /** The message's own id: the same for every attempt to deliver it. */
  readonly id: string;
  /** When this attempt is made, epoch ms. */
  readonly at: number;
  readonly body: string;
  /** `whsec_` and the key in base64. */
  readonly secret: string;
}

export interface WebhookToVerify {
  readonly id: string | null | undefined;
  readonly timestamp: string | null | undefined;
  readonly signature: string | null | undefined;
  /** Exactly as it arrived: parsed and written again it may differ. */
  readonly body: string;
  readonly secret: string;
  /** Epoch ms. */
  readonly now: number;
  /** How far the timestamp may lie in the past or the future. Default five minutes. */
  readonly toleranceMs?: number;
}

export type WebhookVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** The headers to send with the body. Throws a RangeError for a secret of another form. */
export function signWebhook({ id, at, body, secret }: WebhookToSign): WebhookHeaders {
  const timestamp = String(Math.floor(at / 1000));
  const signature = digest(id, timestamp, body, secret).toString('base64');
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` };
}

/**
 * Whether the webhook was signed with the secret, and lately. The reason names no secret and can be shown to the sender.
 * Throws a RangeError for a secret of another form: that is our configuration, not the sender's doing.
 */
export function verifyWebhook(webhook: WebhookToVerify): WebhookVerdict {
  const { id, timestamp, signature, body, secret, now, toleranceMs = 5 * 60_000 } = webhook;
  if (!id) return refused('header webhook-id is missing');
  if (!timestamp) return refused('header webhook-timestamp is missing');
  if (!signature) return refused('header webhook-signature is missing');
  if (!/^\d{1,12}$/.test(timestamp)) return refused('header webhook-timestamp must be seconds since 1970');
  const ageMs = now - Number(timestamp) * 1000;
  if (ageMs > toleranceMs) return refused('header webhook-timestamp is too old: check the clocks, or send it again');
  if (ageMs < -toleranceMs) return refused('header webhook-timestamp lies in the future: check the clocks');

  const expected = digest(id, timestamp, body, secret);
  const matches = signature.split(' ').some((candidate) => {
    const given = candidate.startsWith('v1,') ? Buffer.from(candidate.slice(3), 'base64') : Buffer.alloc(0);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  return matches ? { ok: true } : refused('header webhook-signature does not match: check the secret and the body');
}

function digest(id: string, timestamp: string, body: string, secret: string): Buffer {
  return createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest();
}

function keyOf(secret: string): Buffer {
  const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1];
  if (!base64) throw new RangeError('webhook secret: expected whsec_ and a key in base64; its value is not shown');
  return Buffer.from(base64, 'base64');
}

function refused(reason: string): WebhookVerdict {
  return { ok: false, reason };
}
