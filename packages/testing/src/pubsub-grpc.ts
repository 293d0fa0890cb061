import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { fromProto3JSON, toProto3JSON } from 'proto3-json-serializer';
import protobuf from 'protobufjs';
import { type Json, type PubsubWire, WireError } from './pubsub-wire.ts';

/** Google's own description and codec, so that ours is not tested by itself. */
const client = dirname(createRequire(import.meta.url).resolve('@google-cloud/pubsub/package.json'));
const gax = join(dirname(createRequire(join(client, 'package.json')).resolve('google-gax')), '../..');
const rootOf = (path: string) => protobuf.Root.fromJSON(JSON.parse(readFileSync(path, 'utf8')));
const pubsub = rootOf(join(client, 'build/protos/protos.json')).resolveAll();
const iam = rootOf(join(gax, 'build/protos/iam_service.json')).resolveAll();
const statuses = rootOf(join(gax, 'build/protos/status.json')).resolveAll();

const services = [
  pubsub.lookupService('google.pubsub.v1.Publisher'),
  pubsub.lookupService('google.pubsub.v1.Subscriber'),
  pubsub.lookupService('google.pubsub.v1.SchemaService'),
  iam.lookupService('google.iam.v1.IAMPolicy'),
];

/** A StreamingPull, its requests and answers as Google's codec has them. */
export function streamingPull(address: string) {
  const connection = new Client(address, credentials.createInsecure());
  const requestType = pubsub.lookupType('google.pubsub.v1.StreamingPullRequest');
  const responseType = pubsub.lookupType('google.pubsub.v1.StreamingPullResponse');
  const stream = connection.makeBidiStreamRequest(
    '/google.pubsub.v1.Subscriber/StreamingPull',
    (json: Json) => Buffer.from(requestType.encode(fromProto3JSON(requestType, json as never)!).finish()),
    (bytes: Buffer) => toProto3JSON(responseType.decode(bytes)) as Json,
    new Metadata(),
  );
  const received: { ackId: string; message: Json }[] = [];
  const responses: Json[] = [];
  stream.on('data', (response: { receivedMessages?: typeof received }) => {
    responses.push(withoutDefaults(response as Json));
    received.push(...(response.receivedMessages ?? []));
  });
  const ended = new Promise<WireError | undefined>((resolve) => {
    stream.on('error', (error: ServiceError) => resolve(wireError(error)));
    stream.on('end', () => resolve(undefined));
  });
  return {
    received,
    responses,
    /** What ended it, if that was an error. */
    ended,
    send: (request: Json) => void stream.write(request),
    finish: () => stream.end(),
    [Symbol.dispose]() {
      stream.cancel();
      connection.close();
    },
  };
}

/** @param address host and port */
export function overGrpc(address: string, authorization?: string): PubsubWire & Disposable {
  const connection = new Client(address, credentials.createInsecure(), { 'grpc.max_receive_message_length': -1 });
  const metadata = new Metadata();
  if (authorization) metadata.set('authorization', authorization);
  return {
    call(rpc, request) {
      const service = services.find(({ methods }) => Object.hasOwn(methods, rpc))!;
      const { requestType, responseType } = pubsubTypes(service, rpc);
      const { promise, resolve, reject } = Promise.withResolvers<Json>();
      connection.makeUnaryRequest(
        `/${service.fullName.slice(1)}/${rpc}`,
        (json: Json) => Buffer.from(requestType.encode(fromProto3JSON(requestType, json as never)!).finish()),
        (bytes: Buffer) => toProto3JSON(responseType.decode(bytes)) as Json,
        request,
        metadata,
        (error, answer) => (error ? reject(wireError(error)) : resolve(withoutDefaults(answer!))),
      );
      return promise;
    },
    [Symbol.dispose]() {
      connection.close();
    },
  };
}

function pubsubTypes(service: protobuf.Service, rpc: string) {
  const { resolvedRequestType, resolvedResponseType } = service.methods[rpc]!;
  return { requestType: resolvedRequestType!, responseType: resolvedResponseType! };
}

const maps = new Set(['labels', 'tags', 'attributes']);

/** Google's serializer writes empty lists and maps; over REST they are left out. */
function withoutDefaults(answer: Json): Json {
  const isDefault = (name: string, value: unknown) =>
    value === '' ||
    value === false ||
    (Array.isArray(value) && value.length === 0) ||
    (maps.has(name) && Object.keys(value as Json).length === 0);
  const clean = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(clean);
    return withoutDefaults(value as Json);
  };
  const kept = Object.entries(answer).filter(([name, value]) => !isDefault(name, value));
  return Object.fromEntries(kept.map(([name, value]) => [name, maps.has(name) ? value : clean(value)]));
}

function wireError(error: ServiceError): WireError {
  const [packed] = error.metadata.get('grpc-status-details-bin') as Buffer[];
  const details = packed ? detailsOf(packed) : [];
  return new WireError(status[error.code]!, error.details, details);
}

function detailsOf(packed: Buffer): Json[] {
  const { details } = statuses.lookupType('google.rpc.Status').decode(packed) as unknown as {
    details: { type_url: string; value: Uint8Array }[];
  };
  return details.map(({ type_url, value }) => ({
    '@type': type_url,
    ...statuses
      .lookupType(type_url.slice(type_url.indexOf('/') + 1))
      .decode(value)
      .toJSON(),
  }));
}
