import type { AvroField, AvroType } from './avro-type.ts';
import { at, SchemaError } from './definition.ts';

const promotions: Readonly<Record<string, readonly string[]>> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
};

/** @throws SchemaError where a reader's type cannot take in what was written by the other, by Avro's rules for resolving schemas */
export function checkReads(reader: AvroType, writer: AvroType, path = '', pairs = new Pairs()): void {
  const refuse = (why: string): never => {
    throw at(path, why);
  };
  if (pairs.assume(reader, writer)) return;
  if (writer.kind === 'union') {
    for (const branch of writer.branches) checkReads(reader, branch, path, pairs);
    return;
  }
  if (reader.kind === 'union') {
    if (!reader.branches.some((branch) => reads(branch, writer, pairs))) {
      refuse(`${described(writer)} is in no branch of the union`);
    }
    return;
  }
  if (reader.kind !== writer.kind) {
    if (!promotions[writer.kind]?.includes(reader.kind)) refuse(`${described(writer)} became ${described(reader)}`);
    return;
  }
  if ('name' in reader && 'name' in writer && lastPart(reader.name) !== lastPart(writer.name)) {
    refuse(`${described(writer)} became ${described(reader)}`);
  }
  if ('of' in reader && 'of' in writer) checkReads(reader.of, writer.of, `${path}[]`, pairs);
  else if (reader.kind === 'fixed' && writer.kind === 'fixed') {
    if (reader.size !== writer.size) refuse(`the size of ${reader.name} went from ${writer.size} to ${reader.size}`);
  } else if (reader.kind === 'enum' && writer.kind === 'enum') {
    const gone = [...writer.symbols].filter((symbol) => !reader.symbols.has(symbol));
    if (gone.length > 0 && !reader.hasDefault)
      refuse(`enum ${reader.name} lacks ${gone.join(', ')}, and has no default`);
  } else if (reader.kind === 'record' && writer.kind === 'record') {
    for (const field of reader.fields) {
      const written = writtenField(field, writer.fields);
      const inner = `${path}.${field.name}`;
      if (written) checkReads(field.type, written.type, inner, pairs);
      else if (!field.hasDefault) throw at(inner, 'a field that is not in both needs a default');
    }
  }
}

function reads(reader: AvroType, writer: AvroType, pairs: Pairs): boolean {
  if (pairs.hasFailed(reader, writer)) return false;
  const before = pairs.assumed;
  try {
    checkReads(reader, writer, '', pairs);
    return true;
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    pairs.forget(before, reader, writer);
    return false;
  }
}

/**
 * Types may hold themselves, so a pair that is looked at is assumed to fit. What was assumed in a branch of a union that did
 * not fit is forgotten; that it did not is kept, since assuming less would not make it fit. Without that, branches within
 * branches would take exponential time.
 */
class Pairs {
  readonly #numbers = new Map<AvroType, number>();
  readonly #assumed = new Set<string>();
  readonly #failed = new Set<string>();

  get assumed(): number {
    return this.#assumed.size;
  }

  /** Whether it was assumed before. */
  assume(reader: AvroType, writer: AvroType): boolean {
    const key = this.#key(reader, writer);
    if (this.#assumed.has(key)) return true;
    this.#assumed.add(key);
    return false;
  }

  hasFailed(reader: AvroType, writer: AvroType): boolean {
    return this.#failed.has(this.#key(reader, writer));
  }

  /** @param assumed how many there were before */
  forget(assumed: number, reader: AvroType, writer: AvroType): void {
    for (const key of [...this.#assumed].slice(assumed)) this.#assumed.delete(key);
    this.#failed.add(this.#key(reader, writer));
  }

  #key(reader: AvroType, writer: AvroType): string {
    const [one, other] = [reader, writer].map((type) => {
      if (!this.#numbers.has(type)) this.#numbers.set(type, this.#numbers.size);
      return this.#numbers.get(type);
    });
    return `${one} ${other}`;
  }
}

function writtenField({ name, aliases }: AvroField, fields: readonly AvroField[]): AvroField | undefined {
  return fields.find((each) => each.name === name) ?? fields.find((each) => aliases.includes(each.name));
}

function described(type: AvroType): string {
  return 'name' in type ? `${type.kind} ${type.name}` : type.kind;
}

function lastPart(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}
