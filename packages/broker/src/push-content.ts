import { http } from './node-http.ts';
import type { PushRequest } from './push.ts';

export interface PushContent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** What frames the request, or says who sends it, is not a publisher's to set. */
const ours: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
]);

/** Headers and body of a push, wrapped or not, as its config says. */
export function pushContent(push: PushRequest): PushContent {
  const { body, headers } = push.config.noWrapper ? unwrapped(push) : wrapped(push);
  return {
    body,
    headers: {
      ...headers,
      'content-length': String(body.byteLength),
      ...(push.authorization !== undefined && { authorization: push.authorization }),
    },
  };
}

/** Source: cloud.google.com/pubsub/docs/push, "Receive push messages". */
function wrapped({ subscription, lease: { message }, deliveryAttempt }: PushRequest): PushContent {
  const { messageId, publishTime, attributes, data, orderingKey } = message;
  const envelope = {
    ...(deliveryAttempt !== undefined && { deliveryAttempt }),
    message: {
      attributes,
      data,
      messageId,
      message_id: messageId,
      ...(orderingKey && { orderingKey }),
      publishTime,
      publish_time: publishTime,
    },
    subscription,
  };
  return { headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(envelope)) };
}

/**
 * The data as it is. With `writeMetadata` each attribute is a header, `content-type` among them, but for those that are
 * none: Google does not say what it does with these; here they are left out.
 * Source: cloud.google.com/pubsub/docs/payload-unwrapping; google.pubsub.v1 PushConfig.NoWrapper.
 */
function unwrapped({ subscription, lease: { message }, config }: PushRequest): PushContent {
  const body = Buffer.from(message.data, 'base64');
  if (!config.noWrapper?.writeMetadata) return { headers: {}, body };
  const headers: Record<string, string> = {};
  for (const [key, value] of Object.entries(message.attributes)) {
    const name = key.toLowerCase();
    // Node sends a character as a byte: so the receiver gets UTF-8.
    const bytes = Buffer.from(value).toString('latin1');
    if (!ours.has(name) && isHeader(name, bytes)) headers[name] = bytes;
  }
  headers['x-goog-pubsub-subscription-name'] = subscription;
  headers['x-goog-pubsub-message-id'] = message.messageId;
  headers['x-goog-pubsub-publish-time'] = message.publishTime;
  const key = Buffer.from(message.orderingKey ?? '').toString('latin1');
  if (key !== '' && isHeader('x-goog-pubsub-ordering-key', key)) headers['x-goog-pubsub-ordering-key'] = key;
  return { headers, body };
}

function isHeader(name: string, value: string): boolean {
  try {
    http.validateHeaderName(name);
    http.validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}

/** Anything else is a nack. Source: cloud.google.com/pubsub/docs/push. */
export function isAck(status: number): boolean {
  return [102, 200, 201, 202, 204].includes(status);
}
