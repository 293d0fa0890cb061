import protobuf from 'protobufjs/minimal.js';
import { isDefault, type Json } from './json.ts';
import { durationOf, timestampOf, writeDuration, writeTimestamp } from './time.ts';
import type { EnumType, Field, MessageType } from './wire.ts';

const { Reader, Writer } = protobuf;
type Reader = protobuf.Reader;
type Writer = protobuf.Writer;

/** Source: protobuf.dev/programming-guides/encoding. */
const varint = 0;
const fixed64 = 1;
const lengthDelimited = 2;
/** Only google.protobuf.Struct holds itself. */
const maxDepth = 60;

/** A message in protobuf's binary form, in the one form that `readMessage` has. @throws Error where the bytes are none */
export function decode(type: MessageType, bytes: Uint8Array): Json {
  const reader = Reader.create(bytes);
  return decodeFields(type, reader, reader.len, 0);
}

export function encode(type: MessageType, message: Json): Buffer {
  const writer = Writer.create();
  encodeFields(type, message, writer);
  return writer.finish() as Buffer;
}

const byId = new Map<MessageType, Map<number, Field>>();

function fieldsOf(type: MessageType): Map<number, Field> {
  let fields = byId.get(type);
  if (!fields) {
    fields = new Map(type.fields.map((field) => [field.id, field]));
    byId.set(type, fields);
  }
  return fields;
}

function decodeFields(type: MessageType, reader: Reader, end: number, depth: number): Json {
  if (depth > maxDepth) throw new RangeError(`${type.name} nests too deep`);
  const fields = fieldsOf(type);
  const message: Record<string, unknown> = {};
  while (reader.pos < end) {
    const tag = reader.uint32();
    const field = fields.get(tag >>> 3);
    const wireType = tag & 7;
    if (!field) reader.skipType(wireType);
    else if (field.map) {
      message[field.name] ??= {};
      const [key, value] = decodeEntry(field, reader, depth);
      Object.defineProperty(message[field.name], key, { value, enumerable: true, configurable: true, writable: true });
    } else if (field.repeated) {
      message[field.name] ??= [];
      const list = message[field.name] as unknown[];
      if (wireType === lengthDelimited && wireTypeOf(field.type) !== lengthDelimited) {
        const packedEnd = endOf(reader, end);
        while (reader.pos < packedEnd) list.push(decodeValue(field.type, reader, packedEnd, depth));
      } else list.push(decodeChecked(field, wireType, reader, end, depth));
    } else {
      if (field.oneof) for (const each of type.fields) if (each.oneof === field.oneof) delete message[each.name];
      message[field.name] = decodeChecked(field, wireType, reader, end, depth);
    }
  }
  if (reader.pos > end) throw new RangeError(`${type.name} goes on beyond its end`);
  return message;
}

function decodeChecked(field: Field, wireType: number, reader: Reader, end: number, depth: number): unknown {
  if (wireType !== wireTypeOf(field.type)) throw new TypeError(`${field.name} has wire type ${wireType}`);
  return decodeValue(field.type, reader, end, depth);
}

function decodeEntry(field: Field, reader: Reader, depth: number): [string, unknown] {
  const end = endOf(reader, reader.len);
  let key = '';
  let value: unknown = '';
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === 0x0a) key = reader.string();
    else if (tag >>> 3 === 2) value = decodeChecked(field, tag & 7, reader, end, depth);
    else reader.skipType(tag & 7);
  }
  return [key, value];
}

function endOf(reader: Reader, within: number): number {
  const end = reader.uint32() + reader.pos;
  if (end > within) throw new RangeError(`a length of ${end - reader.pos} goes beyond the end`);
  return end;
}

function decodeValue(type: Field['type'], reader: Reader, within: number, depth: number): unknown {
  switch (type) {
    case 'string':
      return reader.string();
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.int32();
    case 'int64':
      return String(reader.int64());
    case 'double':
      return reader.double();
    case 'bytes': {
      const { buffer, byteOffset, byteLength } = reader.bytes();
      return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
    }
    default:
      if (type.kind === 'enum') return decodeEnum(type, reader.int32());
      return fromFields(type, decodeFields(type, reader, endOf(reader, within), depth + 1));
  }
}

function decodeEnum(type: EnumType, number: number): string {
  const name = type.names.get(number);
  if (name === undefined) throw new RangeError(`${type.name} has no value ${number}`);
  return name;
}

/** What JSON has a form of its own for. */
function fromFields(type: MessageType, message: Json): unknown {
  const time = () => ({ seconds: BigInt((message.seconds as string) ?? 0), nanos: (message.nanos as number) ?? 0 });
  switch (type.name) {
    case 'google.protobuf.Duration':
      return writeDuration(time());
    case 'google.protobuf.Timestamp':
      return writeTimestamp(time());
    case 'google.protobuf.FieldMask':
      return ((message.paths as string[]) ?? []).join(',');
    case 'google.protobuf.Struct':
      return message.fields ?? {};
    case 'google.protobuf.ListValue':
      return message.values ?? [];
    case 'google.protobuf.Value': {
      const [[kind, value] = []] = Object.entries(message);
      return kind === undefined || kind === 'nullValue' ? null : value;
    }
    default:
      return message;
  }
}

function encodeFields(type: MessageType, message: Json, writer: Writer): void {
  for (const field of type.fields) {
    const value = message[field.name];
    if (value === undefined || (isDefault(field, value) && !field.oneof)) continue;
    const tag = (field.id << 3) | wireTypeOf(field.type);
    if (field.map) {
      for (const [key, each] of Object.entries(value as Json)) {
        writer.uint32((field.id << 3) | lengthDelimited).fork();
        writer.uint32(0x0a).string(key);
        encodeValue(field.type, each, writer.uint32((2 << 3) | wireTypeOf(field.type)));
        writer.ldelim();
      }
    } else if (field.repeated && wireTypeOf(field.type) === varint) {
      writer.uint32((field.id << 3) | lengthDelimited).fork();
      for (const each of value as unknown[]) encodeValue(field.type, each, writer);
      writer.ldelim();
    } else if (field.repeated) {
      for (const each of value as unknown[]) encodeValue(field.type, each, writer.uint32(tag));
    } else encodeValue(field.type, value, writer.uint32(tag));
  }
}

function encodeValue(type: Field['type'], value: unknown, writer: Writer): void {
  switch (type) {
    case 'string':
      writer.string(value as string);
      return;
    case 'bool':
      writer.bool(value as boolean);
      return;
    case 'int32':
      writer.int32(value as number);
      return;
    case 'int64':
      writer.int64(longOf(BigInt(value as string)));
      return;
    case 'double':
      writer.double(value as number);
      return;
    case 'bytes':
      writer.bytes(Buffer.from(value as string, 'base64'));
      return;
    default:
      if (type.kind === 'enum') writer.int32(type.numbers.get(value as string) ?? 0);
      else {
        writer.fork();
        encodeFields(type, toFields(type, value), writer);
        writer.ldelim();
      }
  }
}

function toFields(type: MessageType, value: unknown): Json {
  switch (type.name) {
    case 'google.protobuf.Duration':
      return { ...durationOf(value as string) };
    case 'google.protobuf.Timestamp':
      return { ...timestampOf(value as string) };
    case 'google.protobuf.FieldMask':
      return { paths: (value as string).split(',').filter(Boolean) };
    case 'google.protobuf.Struct':
      return { fields: value };
    case 'google.protobuf.ListValue':
      return { values: value };
    case 'google.protobuf.Value':
      return { [kindOf(value)]: value ?? 'NULL_VALUE' };
    default:
      return value as Json;
  }
}

function kindOf(value: unknown): string {
  if (value === null) return 'nullValue';
  if (Array.isArray(value)) return 'listValue';
  return (
    { number: 'numberValue', string: 'stringValue', boolean: 'boolValue' }[typeof value as string] ?? 'structValue'
  );
}

function wireTypeOf(type: Field['type']): number {
  if (type === 'double') return fixed64;
  if (type === 'bool' || type === 'int32' || type === 'int64') return varint;
  return typeof type === 'object' && type.kind === 'enum' ? varint : lengthDelimited;
}

/** The two halves that protobufjs takes for 64 bits. */
function longOf(value: bigint): protobuf.Long {
  const bits = BigInt.asUintN(64, value);
  return { low: Number(bits & 0xffffffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: false };
}
