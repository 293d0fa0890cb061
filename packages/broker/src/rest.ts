import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { admin, isAdmin } from './admin/admin.ts';
import { Api } from './api/api.ts';
import type { Broker } from './broker.ts';
import { BrokerError, badRequest, brokerErrorOf } from './broker-error.ts';
import { answerOpenid, isOpenid } from './openid.ts';
import type { PushSigner } from './push-signer.ts';
import { type Json, readMessage, writeMessage } from './wire/json.ts';
import { type Route, routeOf } from './wire/routes.ts';
import type { Field, MessageType } from './wire/wire.ts';

/** More than any request of Pub/Sub: a publish takes 10 MB, in base64. */
export const maxBodyBytes = 15_000_000;

/** What comes by HTTP, without anything of HTTP's machinery: whoever serves it, or calls from the same process, makes one. */
export interface RestRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  /** By names in lower case; `host` among them. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal?: AbortSignal;
}

export interface RestAnswer {
  readonly status: number;
  /** JSON. */
  readonly body: string;
}

export type RestApi = (request: RestRequest) => Promise<RestAnswer>;

export interface RestOptions {
  /** Whose keys are served, with OpenID's description of them, to verify the tokens of pushes with. Default nobody's. */
  readonly signer?: PushSigner;
}

/** Pub/Sub v1 over REST, by the http rules of its description. Errors in Google's shape. */
export function createRestApi(broker: Broker, { signer }: RestOptions = {}): RestApi {
  const api = new Api(broker);
  const answer = async (request: RestRequest): Promise<unknown> => {
    refuseBrowsers(request);
    if (signer && isOpenid(request)) return answerOpenid(signer, request);
    const [path, query] = pathAndQuery(request);
    if (isAdmin(path)) return admin(broker, request.method, path);
    const route = routeOf(request.method, path);
    const answer = await api.call(route.method, await readRequest(request, route, query), request);
    return writeMessage(route.method.response, answer, {
      enumsAsNumbers: /\benum-encoding=int\b/.test(query.get('$alt') ?? ''),
    });
  };
  return async (request) => {
    try {
      return { status: 200, body: JSON.stringify(await answer(request)) };
    } catch (error) {
      return errorAnswer(brokerErrorOf(error));
    }
  };
}

/** As Google's API tells it. */
export function errorAnswer({ code, message, status, details }: BrokerError): RestAnswer {
  return {
    status: code,
    body: JSON.stringify({ error: { code, message, status, ...(details.length > 0 && { details }) } }),
  };
}

const noQuery = new URLSearchParams();

/** @throws BrokerError */
function pathAndQuery({ url }: RestRequest): [path: string, query: URLSearchParams] {
  // In full only as a proxy would be asked.
  const from = url.startsWith('/') ? url : url.replace(/^\w+:\/\/[^/?]*/, '');
  const mark = from.indexOf('?');
  return mark < 0 ? [from, noQuery] : [from.slice(0, mark), new URLSearchParams(from.slice(mark))];
}

/**
 * There is no token on loopback, so a web page must not be able to reach it: a page elsewhere cannot do without `Origin`
 * on what it posts, nor send JSON unasked, nor call us by our name after DNS rebinding.
 */
function refuseBrowsers({ headers, method }: RestRequest): void {
  const name = String(headers.host ?? '').replace(/:\d*$/, '');
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(name.toLowerCase())) {
    throw new BrokerError(
      'INVALID_ARGUMENT',
      `this broker does not answer to the name "${name}"; use 127.0.0.1 or localhost`,
    );
  }
  if (headers.origin !== undefined) {
    throw new BrokerError('INVALID_ARGUMENT', 'this broker does not serve web pages');
  }
  const type = String(headers['content-type'] ?? '');
  if (method !== 'GET' && method !== 'DELETE' && !/^application\/json\b/i.test(type)) {
    throw new BrokerError('INVALID_ARGUMENT', `the content type must be application/json, got "${type}"`);
  }
}

/** The message that path, query and body make up together. */
async function readRequest(request: RestRequest, route: Route, query: URLSearchParams): Promise<Json> {
  const type = route.method.request;
  const given = route.body === '*' ? await readBody(request) : {};
  if (route.body !== '*') {
    for (const [path, value] of query) bindQuery(type, given, path.split('.'), value);
    if (route.body !== undefined) given[route.body] = await readBody(request);
  }
  for (const [path, value] of Object.entries(route.variables)) bindPath(type, given, path, value);
  return readMessage(type, given);
}

async function readBody(request: RestRequest): Promise<Record<string, unknown>> {
  const text = await readText(request);
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

async function readText({ headers, body }: RestRequest): Promise<string> {
  const encoding = String(headers['content-encoding'] ?? 'identity');
  if (encoding === 'identity') return body.toString();
  if (encoding.toLowerCase() !== 'gzip') {
    throw new BrokerError('INVALID_ARGUMENT', `the content encoding must be gzip or none, got "${encoding}"`);
  }
  try {
    return (await promisify(gunzip)(body, { maxOutputLength: maxBodyBytes })).toString();
  } catch (cause) {
    throw new BrokerError('INVALID_ARGUMENT', `the body is no gzip of at most ${maxBodyBytes} bytes`, { cause });
  }
}

/** A field by its path, `options.requestedPolicyVersion`. What is no field is for the transport, or for nobody. */
function bindQuery(type: MessageType, target: Record<string, unknown>, [name, ...rest]: string[], value: string): void {
  const field = type.byName.get(name!);
  if (!field) return;
  if (rest.length > 0) {
    if (typeof field.type === 'string' || field.type.kind === 'enum' || field.map || field.repeated) return;
    target[field.name] ??= {};
    bindQuery(field.type, target[field.name] as Record<string, unknown>, rest, value);
  } else if (field.repeated) {
    target[field.name] = [...((target[field.name] as unknown[]) ?? []), queryValue(field, value)];
  } else target[field.name] = queryValue(field, value);
}

function queryValue({ type }: Field, value: string): unknown {
  if (type === 'bool' && (value === 'true' || value === 'false')) return value === 'true';
  return value;
}

/** The path names the resource; a body may say the same, and nothing else. */
function bindPath(type: MessageType, target: Record<string, unknown>, path: string, value: string): void {
  const [name, ...rest] = path.split('.') as [string, ...string[]];
  const field = type.byName.get(name)!;
  const key = [field.name, field.snakeName].find((each) => each in target) ?? field.name;
  if (rest.length > 0) {
    target[key] ??= {};
    if (typeof target[key] === 'object' && typeof field.type === 'object' && field.type.kind === 'message') {
      target[key] = { ...target[key] };
      bindPath(field.type, target[key] as Record<string, unknown>, rest.join('.'), value);
    }
    return;
  }
  const said = target[key];
  if (said !== undefined && said !== null && said !== '' && said !== value) {
    throw badRequest(field.snakeName, `the body says ${field.name} ${JSON.stringify(said)}, the path "${value}"`);
  }
  target[key] = value;
}
