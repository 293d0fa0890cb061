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

const maxBodyBytes = 15_000_000;

export interface RestOptions {
  /** Whose keys are served, with OpenID's description of them, to verify the tokens of pushes with. Default nobody's. */
  readonly signer?: PushSigner;
}

/** Pub/Sub v1 over REST, by the http rules of its description. Errors in Google's shape. */
export function createRestApi(broker: Broker, { signer }: RestOptions = {}): (request: Request) => Promise<Response> {
  const api = new Api(broker);
  return async (request) => {
    try {
      refuseBrowsers(request);
      if (signer && isOpenid(request)) return await answerOpenid(signer, request);
      const url = new URL(request.url);
      if (isAdmin(url.pathname)) return Response.json(await admin(broker, request.method, url.pathname));
      const route = routeOf(request.method, url.pathname);
      const call = { signal: request.signal };
      const answer = await api.call(route.method, await readRequest(request, route, url.searchParams), call);
      const enumsAsNumbers = /\benum-encoding=int\b/.test(url.searchParams.get('$alt') ?? '');
      return Response.json(writeMessage(route.method.response, answer, { enumsAsNumbers }));
    } catch (error) {
      const { code, message, status, details } = brokerErrorOf(error);
      return Response.json(
        { error: { code, message, status, ...(details.length > 0 && { details }) } },
        { status: code },
      );
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

/** The message that path, query and body make up together. */
async function readRequest(request: Request, route: Route, query: URLSearchParams): Promise<Json> {
  const type = route.method.request;
  const given: Record<string, unknown> = {};
  if (route.body === '*') Object.assign(given, await readBody(request));
  else {
    for (const [path, value] of query) bindQuery(type, given, path.split('.'), value);
    if (route.body !== undefined) given[route.body] = await readBody(request);
  }
  for (const [path, value] of Object.entries(route.variables)) bindPath(type, given, path, value);
  return readMessage(type, given);
}

async function readBody(request: Request): Promise<Record<string, unknown>> {
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

async function readText(request: Request): Promise<string> {
  const encoding = request.headers.get('content-encoding') ?? 'identity';
  if (encoding === 'identity') return request.text();
  if (encoding.toLowerCase() !== 'gzip') {
    throw new BrokerError('INVALID_ARGUMENT', `the content encoding must be gzip or none, got "${encoding}"`);
  }
  try {
    const body = await promisify(gunzip)(await request.arrayBuffer(), { maxOutputLength: maxBodyBytes });
    return body.toString();
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
