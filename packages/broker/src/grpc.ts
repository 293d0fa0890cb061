import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { Api } from './api/api.ts';
import { StreamingPull } from './api/streaming-pull.ts';
import type { Broker } from './broker.ts';
import { BrokerError, brokerErrorOf } from './broker-error.ts';
import type { Json } from './wire/json.ts';
import { decode, encode } from './wire/proto.ts';
import { type Method, messageType, methods } from './wire/wire.ts';

/** Whether the bearer of this Authorization header is let in. */
export type Admits = (authorization: string | undefined) => Promise<boolean>;

/** Google's limit for a publish is 10 MB of data; names and framing come on top. */
const maxRequestBytes = 12_000_000;
/** A peer that answers no ping is gone, and its calls with it. */
const pingEveryMs = 60_000;
const pingAnswerMs = 20_000;
/** Of all calls of a connection; Node's own limit of 10 MB is less than one message and the next. */
const sessionMegabytes = 128;
/** A call that has not ended by then is cut off. */
const closingMs = 500;

/**
 * Pub/Sub v1 over gRPC, by its description, on connections that are handed to it. Loaded when the first comes: a host that
 * nobody calls by gRPC does not pay for it.
 */
export class GrpcServer {
  readonly #api: Api;
  readonly #admits: Admits;
  readonly #server = new Server({
    'grpc.max_receive_message_length': maxRequestBytes,
    'grpc.max_send_message_length': -1,
    'grpc.keepalive_time_ms': pingEveryMs,
    'grpc.keepalive_timeout_ms': pingAnswerMs,
    'grpc-node.max_session_memory': sessionMegabytes,
  });
  readonly #injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  readonly #sockets = new Set<Duplex>();
  readonly #streams = new Set<(error: BrokerError) => void>();

  constructor(broker: Broker, admits: Admits = async () => true) {
    this.#api = new Api(broker);
    this.#admits = admits;
    for (const [service, ofService] of Map.groupBy(methods, (method) => method.service)) {
      const definition = Object.fromEntries(ofService.map((method) => [method.name, definitionOf(service, method)]));
      const handlers = ofService.map((method): [string, UntypedHandleCall] => [
        method.name,
        method.streams ? this.#stream : this.#unary(method),
      ]);
      this.#server.addService(definition, Object.fromEntries(handlers));
    }
  }

  /** Takes a connection whose client begins with HTTP/2's preface, not read yet. */
  accept(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    this.#injector.injectConnection(socket);
  }

  /** Ends every stream, which clients open again elsewhere or later, and then every connection. */
  async close(): Promise<void> {
    for (const end of this.#streams) end(new BrokerError('UNAVAILABLE', 'this broker stops'));
    // Its own word that all is closed comes before the last of it is sent.
    this.#server.tryShutdown(() => {});
    const late = AbortSignal.timeout(closingMs);
    await Promise.all([...this.#sockets].map((socket) => once(socket, 'close', { signal: late }))).catch(() => {});
    this.#server.forceShutdown();
  }

  #unary(method: Method) {
    return async (call: ServerUnaryCall<Json, Json>, callback: sendUnaryData<Json>): Promise<void> => {
      const gone = new AbortController();
      call.on('cancelled', () => gone.abort());
      try {
        await this.#admit(call.metadata);
        callback(null, await this.#api.call(method, call.request, { signal: gone.signal }));
      } catch (error) {
        callback(serviceError(brokerErrorOf(error)));
      }
    };
  }

  readonly #stream = async (call: ServerDuplexStream<Json, Json>): Promise<void> => {
    const end = (error: BrokerError) => {
      this.#streams.delete(end);
      call.emit('error', serviceError(error));
    };
    const pull = new StreamingPull(this.#api.broker, { send: (response) => call.write(response), end });
    const close = () => {
      this.#streams.delete(end);
      pull.close();
    };
    this.#streams.add(end);
    call.on('cancelled', close);
    call.on('error', close);
    call.on('drain', () => pull.drained());
    try {
      // Read from only when admitted: what comes before waits in the stream.
      await this.#admit(call.metadata);
    } catch (error) {
      end(brokerErrorOf(error));
      return;
    }
    // Clients wait for it to know that the stream is open.
    call.sendMetadata(new Metadata());
    call.on('data', (request: Json) => void pull.receive(request));
    call.on('end', () => {
      close();
      call.end();
    });
  };

  async #admit(metadata: Metadata): Promise<void> {
    const [authorization] = metadata.get('authorization');
    if (await this.#admits(authorization?.toString())) return;
    throw new BrokerError(
      'UNAUTHENTICATED',
      'this broker needs a token: the house’s, or DORMOUSE_BROKER_TOKEN of a service; send it as a bearer',
    );
  }
}

function definitionOf(service: string, { name, request, response, streams }: Method) {
  return {
    path: `/${service}/${name}`,
    requestStream: streams,
    responseStream: streams,
    requestSerialize: (message: Json) => encode(request, message),
    requestDeserialize: (bytes: Buffer) => decode(request, bytes),
    responseSerialize: (message: Json) => encode(response, message),
    responseDeserialize: (bytes: Buffer) => decode(response, bytes),
  };
}

/** With its details as google.rpc.Status, where clients look for them. */
function serviceError({ grpcCode, message, details }: BrokerError): Partial<ServiceError> {
  const metadata = new Metadata();
  if (details.length > 0) {
    const packed = details.map(({ '@type': typeUrl, ...detail }) => {
      const type = messageType(typeUrl.slice(typeUrl.indexOf('/') + 1));
      return { typeUrl, value: encode(type, detail).toString('base64') };
    });
    const status = { code: grpcCode, message, details: packed };
    metadata.set('grpc-status-details-bin', encode(messageType('google.rpc.Status'), status));
  }
  return { code: grpcCode, details: message, metadata };
}
