import type { Broker } from './broker.ts';
import { BrokerError } from './broker-error.ts';
import { DatabaseError } from './database-error.ts';
import type { PubsubMessage } from './log.ts';
import type { SubscriptionConfig, SubscriptionState } from './subscription.ts';
import { readSubscription } from './subscription-fields.ts';

const maxBodyBytes = 15_000_000;

/**
 * Pub/Sub v1 over REST. Errors in Google's shape. Source: google/pubsub/v1/pubsub.proto.
 * Served so far: topics (create, get, list), subscriptions (create, get, list, update, delete, modifyPushConfig), publish, pull,
 * acknowledge, modifyAckDeadline; the rest answers UNIMPLEMENTED.
 */
export function createRestApi(broker: Broker): (request: Request) => Promise<Response> {
  return async (request) => {
    try {
      refuseBrowsers(request);
      return Response.json(await route(broker, request));
    } catch (error) {
      const status = error instanceof DatabaseError ? 'UNAVAILABLE' : 'INTERNAL';
      const known =
        error instanceof BrokerError ? error : new BrokerError(status, (error as Error).message, { cause: error });
      const { code, message } = known;
      return Response.json({ error: { code, message, status: known.status } }, { status: code });
    }
  };
}

/**
 * There is no token on loopback, so a web page must not be able to reach it: a page elsewhere cannot do without `Origin`
 * on what it posts, nor send JSON unasked, nor call us by our name after DNS rebinding.
 */
function refuseBrowsers({ headers, method, url }: Request): void {
  const { hostname } = new URL(url);
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) {
    throw new BrokerError(
      'INVALID_ARGUMENT',
      `this broker does not answer to the name "${hostname}"; use 127.0.0.1 or localhost`,
    );
  }
  if (headers.has('origin')) throw new BrokerError('INVALID_ARGUMENT', 'this broker does not serve web pages');
  const type = headers.get('content-type') ?? '';
  if (method !== 'GET' && method !== 'DELETE' && !/^application\/json\b/i.test(type)) {
    throw new BrokerError('INVALID_ARGUMENT', `the content type must be application/json, got "${type}"`);
  }
}

async function route(broker: Broker, request: Request): Promise<unknown> {
  const path = readPath(request.url);
  const match = /^\/v1\/(projects\/[^/]+)\/(topics|subscriptions)(?:\/([^/:]+))?(?::(\w+))?$/.exec(path);
  if (!match) throw new BrokerError('NOT_FOUND', `there is nothing at ${path}`);
  const [, project, kind, id, verb] = match;
  const name = `${project}/${kind}/${id}`;
  const call = `${request.method} ${kind}${id ? '/*' : ''}${verb ? `:${verb}` : ''}`;
  const body = request.method === 'GET' ? {} : await readBody(request);
  const ofProject = (resource: { name: string }) => resource.name.startsWith(`${project}/`);
  switch (call) {
    case 'PUT topics/*':
      return broker.createTopic({ name });
    case 'GET topics/*':
      return broker.topic(name);
    case 'GET topics':
      return { topics: broker.topics.filter(ofProject) };
    case 'POST topics/*:publish':
      return { messageIds: await broker.publish(name, readMessages(body.messages)) };
    case 'PUT subscriptions/*':
      return broker.createSubscription({ topic: '', ...readSubscription(body), name });
    case 'GET subscriptions/*':
      return broker.subscription(name).config;
    case 'GET subscriptions':
      return { subscriptions: broker.subscriptions.map(({ config }) => config).filter(ofProject) };
    case 'DELETE subscriptions/*':
      await broker.deleteSubscription(name);
      return {};
    case 'POST subscriptions/*:modifyPushConfig':
      await broker.updateSubscription(name, { pushConfig: {}, ...readSubscription({ pushConfig: body.pushConfig }) });
      return {};
    case 'PATCH subscriptions/*':
      return broker.updateSubscription(name, readUpdate(body));
    case 'POST subscriptions/*:pull':
      return pull(broker, broker.subscription(name), body.maxMessages);
    case 'POST subscriptions/*:acknowledge': {
      const subscription = broker.subscription(name);
      for (const ackId of readAckIds(body.ackIds)) broker.ack(subscription, ackId);
      return {};
    }
    case 'POST subscriptions/*:modifyAckDeadline': {
      const subscription = broker.subscription(name);
      const seconds = body.ackDeadlineSeconds ?? 0;
      if (!Number.isInteger(seconds) || seconds < 0 || seconds > 600) {
        throw new BrokerError('INVALID_ARGUMENT', `ackDeadlineSeconds must be 0 to 600, got ${shown(seconds)}`);
      }
      const positions = readAckIds(body.ackIds);
      if (seconds === 0) await broker.nack(subscription, positions);
      else for (const position of positions) broker.extend(subscription, position, seconds * 1000);
      return {};
    }
    default:
      throw new BrokerError('UNIMPLEMENTED', `${request.method} ${path} is not served by this broker`);
  }
}

function readPath(url: string): string {
  const { pathname } = new URL(url);
  try {
    return decodeURIComponent(pathname);
  } catch (cause) {
    throw new BrokerError('INVALID_ARGUMENT', `the path ${pathname} is not percent-encoded UTF-8`, { cause });
  }
}

/** For a message: what is no text or number may be of any size, and even have a toString that is none. */
function shown(value: unknown): string {
  return ['string', 'number'].includes(typeof value) ? `"${String(value).slice(0, 100)}"` : typeof value;
}

// biome-ignore lint/suspicious/noExplicitAny: the wire's JSON, checked field by field where it is used
async function readBody(request: Request): Promise<any> {
  const text = await request.text();
  if (text.length > maxBodyBytes)
    throw new BrokerError('INVALID_ARGUMENT', `a request is at most ${maxBodyBytes} bytes`);
  try {
    const body = text === '' ? {} : JSON.parse(text);
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body;
  } catch (cause) {
    throw new BrokerError('INVALID_ARGUMENT', 'the body is not JSON', { cause });
  }
  throw new BrokerError('INVALID_ARGUMENT', 'the body must be a JSON object');
}

const updatable = ['ackDeadlineSeconds', 'retryPolicy', 'pushConfig'] as const;

function readUpdate(body: { subscription?: unknown; updateMask?: unknown }): Partial<SubscriptionConfig> {
  const given: Record<string, unknown> = readSubscription(body.subscription ?? {});
  const fields = (typeof body.updateMask === 'string' ? body.updateMask : '')
    .split(',')
    .filter(Boolean)
    .map((field) => field.replace(/_(\w)/g, (_all, letter) => letter.toUpperCase()));
  if (fields.length === 0) throw new BrokerError('INVALID_ARGUMENT', 'updateMask must name the fields to change');
  const changes: Record<string, unknown> = {};
  for (const field of fields) {
    if (!(updatable as readonly string[]).includes(field)) {
      throw new BrokerError(
        'INVALID_ARGUMENT',
        `updateMask: "${field}" cannot be changed here; ${updatable.join(', ')} can`,
      );
    }
    changes[field] = given[field];
  }
  return changes;
}

function readMessages(messages: unknown): PubsubMessage[] {
  if (!Array.isArray(messages)) throw new BrokerError('INVALID_ARGUMENT', 'messages must be a list');
  return messages.map((message, index) => {
    const { data = '', attributes = {}, orderingKey = '' } = message ?? {};
    const good = typeof data === 'string' && typeof orderingKey === 'string' && isStrings(attributes);
    if (!good)
      throw new BrokerError(
        'INVALID_ARGUMENT',
        `messages[${index}]: data and orderingKey must be strings, attributes an object of strings`,
      );
    return { data, attributes, ...(orderingKey !== '' && { orderingKey }) };
  });
}

function isStrings(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((each) => typeof each === 'string')
  );
}

function pull(broker: Broker, subscription: SubscriptionState, maxMessages: unknown): unknown {
  if (!Number.isInteger(maxMessages) || (maxMessages as number) < 1) {
    throw new BrokerError('INVALID_ARGUMENT', `maxMessages must be a whole number from 1, got ${shown(maxMessages)}`);
  }
  const receivedMessages = broker.lease(subscription, Math.min(maxMessages as number, 1000)).map(({ message }) => {
    const { position, ...rest } = message;
    return { ackId: ackIdOf(position), message: rest };
  });
  return receivedMessages.length > 0 ? { receivedMessages } : {};
}

function ackIdOf(position: number): string {
  return Buffer.from(`ack ${position}`).toString('base64url');
}

function readAckIds(ackIds: unknown): number[] {
  if (!Array.isArray(ackIds) || ackIds.length === 0)
    throw new BrokerError('INVALID_ARGUMENT', 'ackIds must be a list that is not empty');
  return ackIds.map((ackId) => {
    const text = typeof ackId === 'string' ? Buffer.from(ackId, 'base64url').toString() : '';
    const position = /^ack (\d+)$/.exec(text)?.[1];
    if (!position) throw new BrokerError('INVALID_ARGUMENT', `${shown(ackId)} is no ack id of this broker`);
    return Number(position);
  });
}
