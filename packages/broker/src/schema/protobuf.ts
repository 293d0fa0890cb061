import { isUtf8 } from 'node:buffer';
import protobuf from 'protobufjs';
import { at, type Definition, type Encoding, readJson, SchemaError } from './definition.ts';
import { checkProtobufJson } from './protobuf-json.ts';
import { checkSame } from './protobuf-resolution.ts';
import { isClosed, maxDepth, readMessageType } from './protobuf-type.ts';

/** Source: protobuf.dev/programming-guides/encoding. */
const wireTypes: Readonly<Record<string, number>> = {
  double: 1,
  fixed64: 1,
  sfixed64: 1,
  float: 5,
  fixed32: 5,
  sfixed32: 5,
  string: 2,
  bytes: 2,
};

/**
 * Protocol buffers, proto2, proto3 and edition 2023: one message at the top, all other types within it, and no imports, as
 * Google has it. Source: cloud.google.com/pubsub/docs/schemas. A field the message does not declare is refused in both
 * encodings, as it is there, though decoders pass over it.
 */
export class ProtobufDefinition implements Definition {
  readonly #message: protobuf.Type;

  constructor(text: string) {
    this.#message = readMessageType(text);
  }

  check(data: Buffer, encoding: Encoding): void {
    if (encoding === 'JSON') {
      checkProtobufJson(this.#message, readJson(data), '', 0);
      return;
    }
    const reader = protobuf.Reader.create(data);
    try {
      checkFields(this.#message, reader, reader.len, '', 0, undefined);
    } catch (error) {
      if (error instanceof SchemaError) throw error;
      throw new SchemaError('the data ends within a field', { cause: error });
    }
  }

  checkRevises(older: Definition): void {
    if (!(older instanceof ProtobufDefinition)) throw new SchemaError('it is of another type');
    checkSame(this.#message, older.#message);
  }
}

/** @param group the number of the field that is a group, and ends with a tag of its own */
function checkFields(
  type: protobuf.Type,
  reader: protobuf.Reader,
  end: number,
  path: string,
  depth: number,
  group: number | undefined,
): void {
  if (depth > maxDepth) throw at(path, `it nests deeper than ${maxDepth}`);
  const seen = new Set<number>();
  while (reader.pos < end) {
    const tag = reader.uint32();
    const number = tag >>> 3;
    if ((tag & 7) === 4 && number === group) {
      checkRequired(type, seen, path);
      return;
    }
    const field = type.fieldsById[number];
    if (!field) throw at(path, `message ${type.name} has no field of number ${number}`);
    seen.add(number);
    checkField(field, tag & 7, reader, end, `${path}.${field.name}`, depth);
    if (reader.pos > end) throw at(`${path}.${field.name}`, 'the data ends within it');
  }
  if (group !== undefined) throw at(path, 'the data ends within the group');
  checkRequired(type, seen, path);
}

function checkField(
  field: protobuf.Field,
  wireType: number,
  reader: protobuf.Reader,
  end: number,
  path: string,
  depth: number,
): void {
  if (field instanceof protobuf.MapField) {
    expectWireType(2, wireType, path);
    // Its declared type leaves out what it inherits.
    checkEntry(field as unknown as protobuf.Field & protobuf.MapField, reader, endOf(reader, end, path), path, depth);
    return;
  }
  const expected = wireTypeOf(field);
  if (field.repeated && wireType === 2 && expected !== 2 && expected !== 3) {
    const packedEnd = endOf(reader, end, path);
    while (reader.pos < packedEnd) checkValue(field, reader, packedEnd, path, depth);
    if (reader.pos > packedEnd) throw at(path, 'the data ends within it');
    return;
  }
  expectWireType(expected, wireType, path);
  checkValue(field, reader, end, path, depth);
}

function checkValue(
  field: protobuf.Field,
  reader: protobuf.Reader,
  end: number,
  path: string,
  depth: number,
  type = field.type,
): void {
  const { resolvedType } = type === field.type ? field : { resolvedType: null };
  if (resolvedType instanceof protobuf.Type) {
    if (field.delimited) checkFields(resolvedType, reader, end, path, depth + 1, field.id);
    else checkFields(resolvedType, reader, endOf(reader, end, path), path, depth + 1, undefined);
  } else if (resolvedType instanceof protobuf.Enum) {
    const number = reader.int32();
    if (isClosed(resolvedType) && resolvedType.valuesById[number] === undefined) {
      throw at(path, `enum ${resolvedType.name} has no value of number ${number}`);
    }
  } else if (type === 'string') {
    const valueEnd = endOf(reader, end, path);
    const bytes = reader.buf.subarray(reader.pos, valueEnd);
    if (!isUtf8(bytes)) throw at(path, 'expected a string in UTF-8');
    reader.pos = valueEnd;
  } else if (type === 'bytes') reader.pos = endOf(reader, end, path);
  else reader.skipType(wireTypes[type] ?? 0);
}

/** A map's entry is a message of a key, number 1, and a value, number 2; either may be left out. */
function checkEntry(
  field: protobuf.Field & { readonly keyType: string },
  reader: protobuf.Reader,
  end: number,
  path: string,
  depth: number,
): void {
  while (reader.pos < end) {
    const tag = reader.uint32();
    const wireType = tag & 7;
    if (tag >>> 3 === 1) {
      expectWireType(wireTypes[field.keyType] ?? 0, wireType, path);
      checkValue(field, reader, end, path, depth, field.keyType);
    } else if (tag >>> 3 === 2) {
      expectWireType(wireTypeOf(field), wireType, path);
      checkValue(field, reader, end, path, depth);
    } else throw at(path, `an entry of a map has no field of number ${tag >>> 3}`);
    if (reader.pos > end) throw at(path, 'the data ends within it');
  }
}

function wireTypeOf(field: protobuf.Field): number {
  if (field.resolvedType instanceof protobuf.Type) return field.delimited ? 3 : 2;
  return wireTypes[field.type] ?? 0;
}

function expectWireType(expected: number, wireType: number, path: string): void {
  if (wireType !== expected) throw at(path, `expected wire type ${expected}, got ${wireType}`);
}

function endOf(reader: protobuf.Reader, within: number, path: string): number {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > within) throw at(path, 'the data ends within it');
  return end;
}

function checkRequired(type: protobuf.Type, seen: ReadonlySet<number>, path: string): void {
  const missing = type.fieldsArray.find(({ required, id }) => required && !seen.has(id));
  if (missing) throw at(`${path}.${missing.name}`, 'it is missing, and required');
}
