import { expect, test } from 'vitest';
import { signWebhook, verifyWebhook } from './standard-webhook.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const at = Date.parse('2025-01-29T10:30:15.400Z');
const body = '{"type":"dispute.answered","data":{"merchant":"星巴克"}}';
const headers = signWebhook({ id: 'msg_1', at, body, secret });

function verify(changes: Partial<Parameters<typeof verifyWebhook>[0]> = {}) {
  return verifyWebhook({
    id: headers['webhook-id'],
    timestamp: headers['webhook-timestamp'],
    signature: headers['webhook-signature'],
    body,
    secret,
    now: at,
    ...changes,
  });
}

test('the signature is that of the specification', () => {
  // The example of the specification and of its reference libraries.
  const example = signWebhook({
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    at: 1_614_265_330_000,
    body: '{"test": 2432232314}',
    secret,
  });
  expect(example['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  expect(example['webhook-timestamp']).toBe('1614265330');
});

test('a signed webhook is taken, also while the secret is being changed', () => {
  expect(verify()).toEqual({ ok: true });
  expect(verify({ signature: `v1a,xyz v1,AAAA ${headers['webhook-signature']}` })).toEqual({ ok: true });
});

test('a webhook signed with another secret, for another body or id, or not at all is refused', () => {
  const mismatch = { ok: false, reason: 'header webhook-signature does not match: check the secret and the body' };
  expect(verify({ secret: 'whsec_c29tZSBvdGhlciBzZWNyZXQ=' })).toEqual(mismatch);
  expect(verify({ body: `${body} ` })).toEqual(mismatch);
  expect(verify({ id: 'msg_2' })).toEqual(mismatch);
  expect(verify({ signature: 'v1,' })).toEqual(mismatch);
  expect(verify({ signature: headers['webhook-signature'].replace('v1,', 'v2,') })).toEqual(mismatch);
});

test('a missing header is named', () => {
  expect(verify({ id: null })).toMatchObject({ reason: 'header webhook-id is missing' });
  expect(verify({ timestamp: undefined })).toMatchObject({ reason: 'header webhook-timestamp is missing' });
  expect(verify({ signature: '' })).toMatchObject({ reason: 'header webhook-signature is missing' });
  expect(verify({ timestamp: '1e9' })).toMatchObject({ reason: 'header webhook-timestamp must be seconds since 1970' });
});

test('a webhook is taken for five minutes, in both directions', () => {
  const sentAt = Math.floor(at / 1000) * 1000;
  expect(verify({ now: sentAt + 300_000 }).ok).toBe(true);
  expect(verify({ now: sentAt + 300_001 })).toMatchObject({ reason: expect.stringContaining('too old') });
  expect(verify({ now: sentAt - 300_000 }).ok).toBe(true);
  expect(verify({ now: sentAt - 300_001 })).toMatchObject({ reason: expect.stringContaining('in the future') });
  expect(verify({ now: sentAt + 2_000, toleranceMs: 1_000 }).ok).toBe(false);
});

test('a secret of another form is an error that does not show it', () => {
  expect(() => verify({ secret: 'hunter2' })).toThrow(
    'webhook secret: expected whsec_ and a key in base64; its value is not shown',
  );
});
