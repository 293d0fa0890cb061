// The floor beneath any Pub/Sub server of Node over gRPC: node bench/floor-grpc.ts PORT
// It counts what is published without reading it, and streams as many messages of 256 B as were counted; nothing is kept, leased or confirmed.
import { Metadata, Server, ServerCredentials, type ServerDuplexStream, type UntypedHandleCall } from '@grpc/grpc-js';

type Bytes = Buffer;

const batch = 100;
const idDigits = 20;
let published = 0;
let sent = 0;
let pump = () => {};

const delimited = (field: number, bytes: Bytes) =>
  Buffer.concat([Buffer.from([(field << 3) | 2]), varint(bytes.length), bytes]);
const noId = Buffer.alloc(idDigits, '0');
/** google.pubsub.v1 ReceivedMessage, with zeros for its ids. */
const received = Buffer.concat([
  delimited(1, noId),
  delimited(
    2,
    Buffer.concat([delimited(1, Buffer.alloc(256, 'x')), delimited(3, noId), delimited(4, Buffer.from([8, 1]))]),
  ),
]);
const template = delimited(1, received);
const ackIdEnd = template.indexOf(noId) + idDigits;
const messageIdEnd = template.lastIndexOf(noId) + idDigits;

function varint(number: number): Bytes {
  const bytes: number[] = [];
  let rest = number;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

/** How many of its field 2 a PublishRequest has. */
function countOf(request: Bytes): number {
  let count = 0;
  for (let at = 0; at < request.length; ) {
    if (request[at++] === 0x12) count++;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = request[at++]!;
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    at += length;
  }
  return count;
}

function responseOf(count: number): Bytes {
  const all = Buffer.concat(Array.from({ length: count }, () => template));
  for (let index = 0; index < count; index++) {
    const id = String(++sent);
    all.write(id, index * template.length + ackIdEnd - id.length, 'latin1');
    all.write(id, index * template.length + messageIdEnd - id.length, 'latin1');
  }
  return all;
}

type Unary = (call: { readonly request: Bytes }, callback: (error: null, answer: Bytes) => void) => void;
const echo: Unary = ({ request }, callback) => callback(null, request);
const nothing: Unary = (_call, callback) => callback(null, Buffer.alloc(0));
const publish: Unary = ({ request }, callback) => {
  const count = countOf(request);
  const ids = Array.from({ length: count }, (_, n) =>
    delimited(1, Buffer.from(String(published + n).padStart(idDigits, '1'))),
  );
  published += count;
  callback(null, Buffer.concat(ids));
  pump();
};
const streamingPull = (call: ServerDuplexStream<Bytes, Bytes>) => {
  let isFull = false;
  pump = () => {
    while (!isFull && sent < published) isFull = !call.write(responseOf(Math.min(batch, published - sent)));
  };
  call.sendMetadata(new Metadata());
  call.on('data', pump);
  call.on('drain', () => {
    isFull = false;
    pump();
  });
  call.on('end', () => call.end());
  call.on('cancelled', () => {
    pump = () => {};
  });
};

const as = (bytes: Bytes) => bytes;
const server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
const handlers: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  Publisher: { CreateTopic: echo, Publish: publish },
  Subscriber: {
    CreateSubscription: echo,
    Acknowledge: nothing,
    ModifyAckDeadline: nothing,
    StreamingPull: streamingPull,
  },
};
for (const [service, methods] of Object.entries(handlers)) {
  const definition = Object.keys(methods).map((name) => {
    const streams = name === 'StreamingPull';
    const path = `/google.pubsub.v1.${service}/${name}`;
    const codec = { requestSerialize: as, requestDeserialize: as, responseSerialize: as, responseDeserialize: as };
    return [name, { path, requestStream: streams, responseStream: streams, ...codec }];
  });
  server.addService(Object.fromEntries(definition), methods as Record<string, UntypedHandleCall>);
}
server.bindAsync(`127.0.0.1:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
