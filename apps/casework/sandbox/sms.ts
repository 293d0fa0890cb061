import { createHash } from 'node:crypto';
import { type Asked, json, problem, type Route } from './http-server.ts';
import type { SandboxRecord } from './record.ts';
import { workflowIdIn } from './workflow-id.ts';

/** The SMS gateway: takes `{to, text}` under an `X-Idempotency-Key`, which works as it does for letters. */
export function smsRoute(record: SandboxRecord): Route {
  return {
    target: 'sms',
    method: 'POST',
    path: /^\/sms\/messages$/,
    maxBytes: 65_536,
    async answer({ headers, body }) {
      const key = headers['x-idempotency-key'];
      const message = messageIn(body);
      if (typeof key !== 'string' || key === '') {
        return problem(400, 'Bad request', 'Header X-Idempotency-Key is missing');
      }
      if (!message) {
        return problem(400, 'Bad request', 'The body must be JSON with to (E.164) and text (not empty)');
      }
      const workflowId = workflowIdIn(key, message.text);
      const effect = { kind: 'sms', ...(workflowId === undefined ? {} : { workflowId }), ...message } as const;
      if ((await record.capture(effect, key)) === 'conflict') {
        return problem(422, 'Key in use', 'This X-Idempotency-Key was used for another message: use a new one');
      }
      return json(202, { messageId: `sms_${createHash('sha256').update(key).digest('hex').slice(0, 16)}` });
    },
  };
}

function messageIn(body: Asked['body']): { to: string; text: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
  const { to, text } = (value ?? {}) as { to?: unknown; text?: unknown };
  if (typeof to !== 'string' || !/^\+[1-9]\d{6,14}$/.test(to)) return undefined;
  return typeof text === 'string' && text !== '' ? { to, text } : undefined;
}
