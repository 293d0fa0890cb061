import protobuf from 'protobufjs';
import { at, isObject, kindOf } from './definition.ts';
import { isClosed, maxDepth } from './protobuf-type.ts';

/** Least and most. */
const integers: Readonly<Record<string, readonly [bigint, bigint]>> = {
  ...rangesOf(['int32', 'sint32', 'sfixed32'], -(2n ** 31n), 2n ** 31n - 1n),
  ...rangesOf(['uint32', 'fixed32'], 0n, 2n ** 32n - 1n),
  ...rangesOf(['int64', 'sint64', 'sfixed64'], -(2n ** 63n), 2n ** 63n - 1n),
  ...rangesOf(['uint64', 'fixed64'], 0n, 2n ** 64n - 1n),
};
const maxFloat = 3.4028235677973366e38;

/**
 * The JSON form: fields in lowerCamelCase or as declared, whole numbers of 64 bits in strings, bytes in base64, enums by name
 * or number, null for absent. Source: protobuf.dev/programming-guides/json.
 * @throws SchemaError where a value is no message of the type
 */
export function checkProtobufJson(type: protobuf.Type, value: unknown, path: string, depth: number): void {
  if (depth > maxDepth) throw at(path, `it nests deeper than ${maxDepth}`);
  if (!isObject(value)) throw at(path, `expected an object of message ${type.name}, got ${kindOf(value)}`);
  const fields = fieldsOf(type);
  const seen = new Set<protobuf.Field>();
  const oneofs = new Map<protobuf.OneOf, string>();
  for (const [name, each] of Object.entries(value)) {
    const inner = `${path}.${name}`;
    const field = fields.get(name);
    if (!field) throw at(inner, `message ${type.name} has no such field`);
    if (each === null) continue;
    if (seen.has(field)) throw at(inner, 'it is there twice, by both its names');
    seen.add(field);
    if (field.partOf) {
      const other = oneofs.get(field.partOf);
      if (other !== undefined) throw at(inner, `of oneof ${field.partOf.name} only one may be set, and ${other} is`);
      oneofs.set(field.partOf, name);
    }
    checkField(field, each, inner, depth);
  }
  const missing = type.fieldsArray.find((field) => field.required && !seen.has(field));
  if (missing) throw at(`${path}.${missing.name}`, 'it is missing, and required');
}

const fieldsByName = new WeakMap<protobuf.Type, Map<string, protobuf.Field>>();

function fieldsOf(type: protobuf.Type): Map<string, protobuf.Field> {
  let fields = fieldsByName.get(type);
  if (!fields) {
    fields = new Map(type.fieldsArray.flatMap((field) => [jsonName(field), field.name].map((name) => [name, field])));
    fieldsByName.set(type, fields);
  }
  return fields;
}

function jsonName({ name, options }: protobuf.Field): string {
  const given = options?.json_name;
  return typeof given === 'string' ? given : name.replace(/_+([^_]?)/g, (_all, next: string) => next.toUpperCase());
}

function checkField(field: protobuf.Field, value: unknown, path: string, depth: number): void {
  if (field instanceof protobuf.MapField) {
    if (!isObject(value)) throw at(path, `expected an object, got ${kindOf(value)}`);
    for (const [key, each] of Object.entries(value)) {
      checkKey(field.keyType, key, path);
      checkValue(field, each, `${path}[${key}]`, depth);
    }
  } else if (field.repeated) {
    if (!Array.isArray(value)) throw at(path, `expected a list, got ${kindOf(value)}`);
    for (const [index, each] of value.entries()) checkValue(field, each, `${path}[${index}]`, depth);
  } else checkValue(field, value, path, depth);
}

function checkKey(type: string, key: string, path: string): void {
  const good = type === 'string' || (type === 'bool' ? /^(true|false)$/.test(key) : isInteger(type, key));
  if (!good) throw at(path, `a key of it is no ${type}`);
}

function checkValue({ type, resolvedType }: protobuf.Field, value: unknown, path: string, depth: number): void {
  if (resolvedType instanceof protobuf.Type) checkProtobufJson(resolvedType, value, path, depth + 1);
  else if (resolvedType instanceof protobuf.Enum) {
    if (!isEnumValue(resolvedType, value))
      throw at(path, `expected a value of enum ${resolvedType.name}, got ${kindOf(value)}`);
  } else if (!isScalar(type, value)) throw at(path, `expected a ${type}, got ${kindOf(value)}`);
}

function isEnumValue(type: protobuf.Enum, value: unknown): boolean {
  if (typeof value === 'string') return Object.hasOwn(type.values, value);
  if (!isInteger('int32', value)) return false;
  return !isClosed(type) || type.valuesById[value as number] !== undefined;
}

function isScalar(type: string, value: unknown): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string' && value.isWellFormed();
    case 'bool':
      return typeof value === 'boolean';
    case 'bytes':
      return (
        typeof value === 'string' && /^[A-Za-z0-9+/_-]*={0,2}$/.test(value) && value.replace(/=+$/, '').length % 4 !== 1
      );
    case 'float':
    case 'double': {
      if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return true;
      if (typeof value === 'string' && !/^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value)) return false;
      if (typeof value !== 'number' && typeof value !== 'bigint' && typeof value !== 'string') return false;
      return Math.abs(Number(value)) <= (type === 'float' ? maxFloat : Number.MAX_VALUE);
    }
    default:
      return isInteger(type, value);
  }
}

/** A number or a string that holds one, `1.0` and `1e3` among them. */
function isInteger(type: string, value: unknown): boolean {
  const [least, most] = integers[type]!;
  let integer: bigint;
  if (typeof value === 'bigint') integer = value;
  else if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) integer = BigInt(value);
  else {
    if (typeof value === 'string' ? !/^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value) : typeof value !== 'number')
      return false;
    if (!Number.isInteger(Number(value))) return false;
    integer = BigInt(Number(value));
  }
  return integer >= least && integer <= most;
}

function rangesOf(types: readonly string[], least: bigint, most: bigint) {
  return Object.fromEntries(types.map((type) => [type, [least, most] as const]));
}
