import { isUtf8 } from 'node:buffer';
import { checkReads } from './avro-resolution.ts';
import { type AvroType, branchName, readAvroType } from './avro-type.ts';
import { at, type Definition, type Encoding, isObject, kindOf, readJson, SchemaError } from './definition.ts';

/** Deeper messages would end in a stack overflow. */
const maxDepth = 1000;

/**
 * Avro, as far as a broker needs it: it looks whether data is a message, and builds none.
 * Source: avro.apache.org/docs/1.11.1/specification.
 */
export class AvroDefinition implements Definition {
  readonly #type: AvroType;

  constructor(text: string) {
    this.#type = readAvroType(text);
  }

  check(data: Buffer, encoding: Encoding): void {
    if (encoding === 'JSON') checkJson(this.#type, readJson(data), '', 0);
    else {
      const cursor = new Cursor(data);
      checkBinary(this.#type, cursor, '', 0);
      if (cursor.at < data.length) throw new SchemaError(`${data.length - cursor.at} bytes are left after the message`);
    }
  }

  checkRevises(older: Definition): void {
    if (!(older instanceof AvroDefinition)) throw new SchemaError('it is of another type');
    checkReads(this.#type, older.#type);
    try {
      checkReads(older.#type, this.#type);
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      throw new SchemaError(`the older could not read messages of the newer: ${error.message}`);
    }
  }
}

/** The JSON encoding: of a union, `null` or an object with the branch's name as its one key. */
function checkJson(type: AvroType, value: unknown, path: string, depth: number): void {
  const mismatch = (expected: string) => at(path, `expected ${expected}, got ${kindOf(value)}`);
  if (depth > maxDepth) throw at(path, `it nests deeper than ${maxDepth}`);
  switch (type.kind) {
    case 'null':
      if (value !== null) throw mismatch('null');
      return;
    case 'boolean':
      if (typeof value !== 'boolean') throw mismatch('a boolean');
      return;
    case 'int':
      if (!Number.isInteger(value) || Math.abs((value as number) + 0.5) > 2 ** 31)
        throw mismatch('a whole number of 32 bits');
      return;
    case 'long':
      if (typeof value === 'bigint' ? BigInt.asIntN(64, value) !== value : !Number.isSafeInteger(value))
        throw mismatch('a whole number of 64 bits');
      return;
    case 'float':
    case 'double':
      if (typeof value !== 'number' && typeof value !== 'bigint') throw mismatch('a number');
      return;
    case 'string':
      if (typeof value !== 'string') throw mismatch('a string');
      return;
    case 'bytes':
    case 'fixed':
      // A character for each byte.
      if (typeof value !== 'string' || /[^\0-\xff]/.test(value)) throw mismatch('a string of characters up to \\u00ff');
      if (type.kind === 'fixed' && (value as string).length !== type.size)
        throw mismatch(`a string of ${type.size} bytes`);
      return;
    case 'enum':
      if (typeof value !== 'string' || !type.symbols.has(value)) throw mismatch(`a symbol of enum ${type.name}`);
      return;
    case 'array':
      if (!Array.isArray(value)) throw mismatch('a list');
      for (const [index, each] of value.entries()) checkJson(type.of, each, `${path}[${index}]`, depth + 1);
      return;
    case 'map':
      if (!isObject(value)) throw mismatch('an object');
      for (const [key, each] of Object.entries(value)) checkJson(type.of, each, `${path}[${key}]`, depth + 1);
      return;
    case 'union': {
      if (value === null && type.branches.some(({ kind }) => kind === 'null')) return;
      const [[name, inner] = [], second] = isObject(value) ? Object.entries(value) : [];
      const branch = second ? undefined : type.branches.find((each) => branchName(each) === name && name !== 'null');
      if (!branch) {
        const forms = type.branches.map((each) => (each.kind === 'null' ? 'null' : `{"${branchName(each)}": …}`));
        throw mismatch(forms.join(' or ') || 'nothing, since the union is empty');
      }
      checkJson(branch, inner, `${path}.${name}`, depth + 1);
      return;
    }
    case 'record': {
      if (!isObject(value)) throw mismatch(`an object of record ${type.name}`);
      for (const field of type.fields) {
        const inner = `${path}.${field.name}`;
        // Defaults are for readers: who writes leaves nothing out.
        if (!Object.hasOwn(value, field.name)) throw at(inner, 'it is missing');
        checkJson(field.type, value[field.name], inner, depth + 1);
      }
      const unknown = Object.keys(value).find((key) => !type.fields.some(({ name }) => name === key));
      if (unknown !== undefined) throw at(`${path}.${unknown}`, `record ${type.name} has no such field`);
    }
  }
}

function checkBinary(type: AvroType, cursor: Cursor, path: string, depth: number): void {
  if (depth > maxDepth) throw at(path, `it nests deeper than ${maxDepth}`);
  switch (type.kind) {
    case 'null':
      return;
    case 'boolean':
      if (cursor.skip(1, path)[0]! > 1) throw at(path, 'expected a boolean');
      return;
    case 'int': {
      const value = cursor.long(path);
      if (BigInt.asIntN(32, value) !== value) throw at(path, 'expected a whole number of 32 bits');
      return;
    }
    case 'long':
      cursor.long(path);
      return;
    case 'float':
      cursor.skip(4, path);
      return;
    case 'double':
      cursor.skip(8, path);
      return;
    case 'bytes':
      cursor.skip(cursor.length(path), path);
      return;
    case 'string':
      if (!isUtf8(cursor.skip(cursor.length(path), path))) throw at(path, 'expected a string in UTF-8');
      return;
    case 'fixed':
      cursor.skip(type.size, path);
      return;
    case 'enum': {
      const index = cursor.length(path);
      if (index >= type.symbols.size) throw at(path, `enum ${type.name} has no symbol of number ${index}`);
      return;
    }
    case 'array':
    case 'map':
      for (let count = cursor.block(path); count > 0; count = cursor.block(path)) {
        for (let index = 0; index < count; index++) {
          const before = cursor.at;
          const inner = `${path}[${index}]`;
          if (type.kind === 'map') checkBinary({ kind: 'string' }, cursor, inner, depth + 1);
          checkBinary(type.of, cursor, inner, depth + 1);
          // What takes no space never does; there may be said to be any number of it.
          if (cursor.at === before) break;
        }
      }
      return;
    case 'union': {
      const index = cursor.length(path);
      const branch = type.branches[index];
      if (!branch) throw at(path, `the union has no branch of number ${index}`);
      checkBinary(branch, cursor, path, depth + 1);
      return;
    }
    case 'record':
      for (const field of type.fields) checkBinary(field.type, cursor, `${path}.${field.name}`, depth + 1);
  }
}

class Cursor {
  readonly #data: Buffer;
  at = 0;

  constructor(data: Buffer) {
    this.#data = data;
  }

  skip(bytes: number, path: string): Buffer {
    const end = this.at + bytes;
    if (end > this.#data.length) throw at(path, 'the data ends before it');
    const skipped = this.#data.subarray(this.at, end);
    this.at = end;
    return skipped;
  }

  long(path: string): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.skip(1, path)[0]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) {
        if (value >= 1n << 64n) break;
        return (value >> 1n) ^ -(value & 1n);
      }
    }
    throw at(path, 'expected a whole number of 64 bits');
  }

  length(path: string): number {
    const length = this.long(path);
    if (length < 0n) throw at(path, 'a length or an index is negative');
    return Number(length);
  }

  /** How many items follow; zero at the end. A negative count has the size of its block after it. */
  block(path: string): number {
    const count = this.long(path);
    if (count >= 0n) return Number(count);
    this.length(path);
    return Number(-count);
  }
}
