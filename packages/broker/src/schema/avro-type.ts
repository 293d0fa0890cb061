import { isObject, SchemaError } from './definition.ts';

const primitives = ['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'] as const;

export type AvroType =
  | { readonly kind: (typeof primitives)[number] }
  | { readonly kind: 'array' | 'map'; readonly of: AvroType }
  | { readonly kind: 'union'; readonly branches: readonly AvroType[] }
  | AvroNamed;

export type AvroNamed =
  | (Named & { readonly kind: 'record'; readonly fields: AvroField[] })
  | (Named & { readonly kind: 'enum'; readonly symbols: ReadonlySet<string>; readonly hasDefault: boolean })
  | (Named & { readonly kind: 'fixed'; readonly size: number });

interface Named {
  /** With its namespace. */
  readonly name: string;
}

export interface AvroField {
  readonly name: string;
  /** Names it had in older revisions. */
  readonly aliases: readonly string[];
  readonly type: AvroType;
  readonly hasDefault: boolean;
}

const namePart = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Of definitions; deeper ones would end in a stack overflow. */
const maxDepth = 100;

/**
 * A definition of Avro 1.11, in JSON. Logical types count as what they are made of, and unknown attributes are passed over,
 * as the specification says; whether a default fits its field is not looked at, and Google does not either.
 * @throws SchemaError
 */
export function readAvroType(text: string): AvroType {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new SchemaError('it is no JSON, as a definition of Avro is', { cause });
  }
  return new Reader().read(json, '', 0);
}

/** What a union calls its branch in JSON. */
export function branchName(type: AvroType): string {
  return 'name' in type ? type.name : type.kind;
}

class Reader {
  readonly #named = new Map<string, AvroNamed>();

  read(json: unknown, namespace: string, depth: number): AvroType {
    if (depth > maxDepth) throw new SchemaError(`it nests deeper than ${maxDepth}`);
    if (typeof json === 'string') return this.#reference(json, namespace);
    if (Array.isArray(json)) return this.#union(json, namespace, depth);
    if (!isObject(json)) throw new SchemaError(`a type is a name, a list or an object, not ${JSON.stringify(json)}`);
    switch (json.type) {
      case 'array':
        return { kind: 'array', of: this.read(required(json, 'items'), namespace, depth + 1) };
      case 'map':
        return { kind: 'map', of: this.read(required(json, 'values'), namespace, depth + 1) };
      case 'record':
      case 'enum':
      case 'fixed':
        return this.#define(json, namespace, depth);
      default:
        return this.read(required(json, 'type'), namespace, depth + 1);
    }
  }

  #reference(name: string, namespace: string): AvroType {
    const primitive = primitives.find((each) => each === name);
    if (primitive) return { kind: primitive };
    const type = this.#named.get(fullName(name, namespace)) ?? this.#named.get(name);
    if (!type) throw new SchemaError(`there is no type "${name}"; define it where it is used first`);
    return type;
  }

  #union(list: readonly unknown[], namespace: string, depth: number): AvroType {
    const branches = list.map((each) => this.read(each, namespace, depth + 1));
    if (branches.some(({ kind }) => kind === 'union')) throw new SchemaError('a union cannot hold a union');
    const names = branches.map(branchName);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) throw new SchemaError(`a union has "${twice}" twice`);
    return { kind: 'union', branches };
  }

  #define(json: Readonly<Record<string, unknown>>, enclosing: string, depth: number): AvroType {
    const given = typeof json.namespace === 'string' ? json.namespace : enclosing;
    const name = checkedName(json.name, `a ${json.type}`, given);
    if (primitives.some((each) => each === name)) throw new SchemaError(`"${name}" is a type of Avro's own`);
    if (this.#named.has(name)) throw new SchemaError(`there are two types "${name}"`);
    const namespace = name.slice(0, Math.max(0, name.lastIndexOf('.')));
    if (json.type === 'enum') {
      const symbols = list(json, 'symbols', name).map((each) => {
        if (typeof each === 'string' && namePart.test(each)) return each;
        throw new SchemaError(`enum "${name}": ${JSON.stringify(each)} is no symbol; use letters, digits and _`);
      });
      refuseTwice(symbols, `enum "${name}"`);
      return this.#keep({ kind: 'enum', name, symbols: new Set(symbols), hasDefault: json.default !== undefined });
    }
    if (json.type === 'fixed') {
      const { size } = json;
      if (typeof size === 'number' && Number.isSafeInteger(size) && size >= 0) {
        return this.#keep({ kind: 'fixed', name, size });
      }
      throw new SchemaError(`fixed "${name}": size must be a number of bytes, got ${JSON.stringify(size)}`);
    }
    const fields: AvroField[] = [];
    // Before its fields, which may hold it again.
    const type = this.#keep({ kind: 'record', name, fields });
    for (const field of list(json, 'fields', name)) {
      if (!isObject(field))
        throw new SchemaError(`record "${name}": a field is an object, not ${JSON.stringify(field)}`);
      const fieldName = field.name;
      if (typeof fieldName !== 'string' || !namePart.test(fieldName)) {
        throw new SchemaError(`record "${name}": ${JSON.stringify(fieldName)} is no name of a field`);
      }
      try {
        fields.push({
          name: fieldName,
          aliases: Array.isArray(field.aliases) ? field.aliases : [],
          type: this.read(required(field, 'type'), namespace, depth + 1),
          hasDefault: field.default !== undefined,
        });
      } catch (error) {
        if (!(error instanceof SchemaError)) throw error;
        throw new SchemaError(`${fieldName}: ${error.message}`);
      }
    }
    refuseTwice(
      fields.map((each) => each.name),
      `record "${name}"`,
    );
    return type;
  }

  #keep(type: AvroNamed): AvroNamed {
    this.#named.set(type.name, type);
    return type;
  }
}

function checkedName(name: unknown, what: string, namespace: string): string {
  if (typeof name !== 'string' || name === '') throw new SchemaError(`${what} needs a name`);
  const full = fullName(name, namespace);
  if (!full.split('.').every((part) => namePart.test(part))) {
    throw new SchemaError(
      `"${full}" is no name; its parts begin with a letter or _ and go on with letters, digits and _`,
    );
  }
  return full;
}

function fullName(name: string, namespace: string): string {
  return name.includes('.') || namespace === '' ? name : `${namespace}.${name}`;
}

function required(json: Readonly<Record<string, unknown>>, key: string): unknown {
  if (json[key] === undefined) throw new SchemaError(`"${key}" is missing in ${JSON.stringify(json).slice(0, 100)}`);
  return json[key];
}

function list(json: Readonly<Record<string, unknown>>, key: string, name: string): readonly unknown[] {
  const value = json[key];
  if (Array.isArray(value)) return value;
  throw new SchemaError(`${json.type} "${name}": "${key}" must be a list`);
}

function refuseTwice(names: readonly string[], what: string): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new SchemaError(`${what} has "${twice}" twice`);
}
