import { badRequest } from '../broker-error.ts';
import { durationOf, timestampOf } from './time.ts';
import type { EnumType, Field, MessageType } from './wire.ts';

/** A message in proto-JSON: camelCase, bytes in base64, int64 and durations as strings, enums by name. */
export type Json = Readonly<Record<string, unknown>>;

/** Deeper than any message of the wire; a body that nests deeper would end in a stack overflow. */
const maxDepth = 60;

/**
 * Reads a message from its JSON form as lenient as Google does: fields in camelCase or snake_case, enums by name or number,
 * numbers in strings, null for absent, base64 of either alphabet. What comes out is in one form only, and is what was given where that
 * is in it already, as what well-behaved clients publish is: nothing of it is built again.
 * @throws BrokerError INVALID_ARGUMENT in Google's words, naming the path: unknown fields, wrong types
 */
export function readMessage(type: MessageType, value: unknown, path = '', depth = 0): Json {
  if (depth === 0 && isCanonical(type, value)) return value;
  if (type.name === 'google.protobuf.Struct') return readStruct(value, path);
  if (!isObject(value)) throw invalid(path, type.name, value);
  if (depth > maxDepth) throw badRequest(path, `Invalid JSON payload received. "${path}" nests too deep.`);
  const message: Record<string, unknown> = {};
  const oneofs = new Map<string, string>();
  for (const [name, given] of Object.entries(value)) {
    const field = type.byName.get(name);
    if (!field) {
      const at = path === '' ? '' : ` at '${path}'`;
      throw badRequest(path, `Invalid JSON payload received. Unknown name "${name}"${at}: Cannot find field.`);
    }
    if (given === null) continue;
    const at = path === '' ? field.snakeName : `${path}.${field.snakeName}`;
    if (field.oneof !== undefined) {
      const other = oneofs.get(field.oneof);
      if (other !== undefined) {
        throw badRequest(
          at,
          `Invalid value at '${path}' (oneof), oneof field '${field.oneof}' is already set. Cannot set '${field.name}' beside '${other}'`,
        );
      }
      oneofs.set(field.oneof, field.name);
    }
    message[field.name] = readField(field, given, at, depth);
  }
  return message;
}

/** Whether there is nothing to change, as far as can be told at a glance: what is seldom or intricate is left to `readMessage`. */
function isCanonical(type: MessageType, value: unknown, depth = 0): value is Json {
  if (!isObject(value) || depth > maxDepth) return false;
  for (const name in value) {
    const field = type.byName.get(name);
    if (field?.name !== name || field.oneof !== undefined) return false;
    const given = value[name];
    if (field.map) {
      if (!isObject(given)) return false;
      for (const key in given) if (!isCanonicalValue(field.type, given[key], depth)) return false;
    } else if (field.repeated) {
      if (!Array.isArray(given)) return false;
      for (const each of given) if (!isCanonicalValue(field.type, each, depth)) return false;
    } else if (!isCanonicalValue(field.type, given, depth)) return false;
  }
  return true;
}

function isCanonicalValue(type: Field['type'], value: unknown, depth: number): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'bool':
      return typeof value === 'boolean';
    case 'bytes':
      return typeof value === 'string' && isBase64(value);
    case 'int32':
      return Number.isInteger(value) && Math.abs(value as number) <= 0x7fffffff;
    case 'int64':
    case 'double':
      return false;
    default:
      if (type.kind === 'enum') return typeof value === 'string' && type.numbers.has(value);
      return !type.name.startsWith('google.protobuf.') && isCanonical(type, value, depth + 1);
  }
}

function readField(field: Field, value: unknown, path: string, depth: number): unknown {
  if (field.map) {
    if (!isObject(value)) throw invalid(path, 'Map', value);
    const entries = Object.entries(value).map(([key, each]) => [
      key,
      readValue(field.type, each, `${path}[${key}].value`, depth),
    ]);
    // As entries, so that a key "__proto__" is one like any other.
    return Object.fromEntries(entries);
  }
  if (field.repeated) {
    if (!Array.isArray(value)) throw invalid(path, typeName(field.type), value);
    return value.map((each, index) => readValue(field.type, each, `${path}[${index}]`, depth));
  }
  return readValue(field.type, value, path, depth);
}

function readValue(type: Field['type'], value: unknown, path: string, depth: number): unknown {
  switch (type) {
    case 'string':
      if (typeof value === 'string') return value;
      break;
    case 'bool':
      if (typeof value === 'boolean') return value;
      break;
    case 'bytes':
      if (typeof value === 'string' && /^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) return base64Of(value);
      break;
    case 'int32': {
      const number = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value;
      if (Number.isInteger(number) && Math.abs(number as number) <= 0x7fffffff) return number;
      break;
    }
    case 'int64':
      if (Number.isSafeInteger(value)) return String(value);
      if (
        typeof value === 'string' &&
        /^-?\d{1,19}$/.test(value) &&
        BigInt.asIntN(64, BigInt(value)) === BigInt(value)
      ) {
        return String(BigInt(value));
      }
      break;
    case 'double':
      if (typeof value === 'number') return value;
      break;
    default:
      if (type.kind === 'enum') return readEnum(type, value, path);
      if (type.name === 'google.protobuf.Duration') {
        if (typeof value === 'string' && durationOf(value)) return value;
      } else if (type.name === 'google.protobuf.Timestamp') {
        if (typeof value === 'string' && timestampOf(value)) return value;
      } else if (type.name === 'google.protobuf.FieldMask') {
        if (typeof value === 'string') return value;
      } else return readMessage(type, value, path, depth + 1);
  }
  throw invalid(path, typeName(type), value);
}

function readEnum(type: EnumType, value: unknown, path: string): string {
  if (typeof value === 'string' && type.numbers.has(value)) return value;
  if (typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value))) {
    const name = type.names.get(Number(value));
    if (name !== undefined) return name;
  }
  throw invalid(path, type.name, value);
}

/** @throws BrokerError where a struct holds what JSON cannot, or nests without end */
function readStruct(value: unknown, path: string): Json {
  if (!isObject(value)) throw invalid(path, 'Struct', value);
  const check = (each: unknown, depth: number): void => {
    if (depth > maxDepth) throw badRequest(path, `Invalid JSON payload received. "${path}" nests too deep.`);
    if (typeof each === 'object' && each !== null) for (const inner of Object.values(each)) check(inner, depth + 1);
  };
  check(value, 0);
  return value;
}

/**
 * What is default is left out, as Google does; of what is set all stays, in the order of the wire's description. Answers the message
 * itself where there is nothing to leave out.
 */
export function writeMessage(type: MessageType, message: Json, { enumsAsNumbers = false } = {}): Json {
  if (type.name === 'google.protobuf.Struct' || (!enumsAsNumbers && isSparse(type, message))) return message;
  const written: Record<string, unknown> = {};
  const write = (of: Field['type'], value: unknown): unknown => {
    if (typeof of === 'string') return value;
    if (of.kind === 'enum') return enumsAsNumbers ? of.numbers.get(value as string) : value;
    return isObject(value) ? writeMessage(of, value, { enumsAsNumbers }) : value;
  };
  for (const field of type.fields) {
    const value = message[field.name];
    if (value === undefined || isDefault(field, value)) continue;
    if (field.map) {
      const entries = Object.entries(value as Json).map(([key, each]) => [key, write(field.type, each)]);
      written[field.name] = Object.fromEntries(entries);
    } else if (field.repeated) written[field.name] = (value as unknown[]).map((each) => write(field.type, each));
    else written[field.name] = write(field.type, value);
  }
  return written;
}

/** Whether nothing of it is default, nor unknown to the wire. */
function isSparse(type: MessageType, message: Json): boolean {
  for (const name in message) {
    const field = type.byName.get(name);
    const value = message[name];
    if (!field || isDefault(field, value)) return false;
    const of = field.type;
    if (typeof of === 'string' || of.kind === 'enum' || of.name.startsWith('google.protobuf.')) continue;
    if (field.map) return false;
    if (!field.repeated) {
      if (!isSparse(of, value as Json)) return false;
    } else for (const each of value as Json[]) if (!isSparse(of, each)) return false;
  }
  return true;
}

/** What neither wire writes: a set message is never default, whatever is in it. */
export function isDefault({ type, map, repeated }: Field, value: unknown): boolean {
  if (map) {
    for (const _key in value as Json) return false;
    return true;
  }
  if (repeated) return (value as unknown[]).length === 0;
  if (typeof type === 'object' && type.kind === 'enum') return type.numbers.get(value as string) === 0;
  return value === '' || value === 0 || value === false || (type === 'int64' && value === '0');
}

const scratch = Buffer.allocUnsafeSlow(49_152);

/** Whether it is base64 of the usual alphabet, padded. Told by decoding it, which passes over what is none: a pattern takes three times as long. */
function isBase64(text: string): boolean {
  if (text.length % 4 !== 0 || text.includes('-') || text.includes('_')) return false;
  if (text.length > 65_536) return /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return scratch.write(text, 'base64') === (text.length / 4) * 3 - padding;
}

export function base64Of(text: string): string {
  const length = text.replace(/=+$/, '').length;
  if (length % 4 === 0 && !/[-_=]/.test(text)) return text;
  return Buffer.from(text, 'base64').toString('base64');
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const googleNames: Record<string, string> = {
  string: 'TYPE_STRING',
  bytes: 'TYPE_BYTES',
  bool: 'TYPE_BOOL',
  int32: 'TYPE_INT32',
  int64: 'TYPE_INT64',
  double: 'TYPE_DOUBLE',
};

function typeName(type: Field['type']): string {
  return typeof type === 'string' ? googleNames[type]! : `type.googleapis.com/${type.name}`;
}

function invalid(path: string, type: string, value: unknown) {
  const shown = typeof value === 'object' ? (Array.isArray(value) ? 'a list' : 'an object') : JSON.stringify(value);
  const short = shown && shown.length > 100 ? `${shown.slice(0, 100)}…` : shown;
  return badRequest(path, `Invalid value at '${path}' (${type}), ${short}`);
}
